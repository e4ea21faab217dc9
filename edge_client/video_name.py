"""What a --video names, told from its text alone: OpenCV is not needed for it."""

from __future__ import annotations

import re
from typing import Literal

VideoKind = Literal["file", "camera", "url", "pipeline"]

_DEVICE = re.compile(r"(\d+|/dev/video\d+)")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")


def kind_of(video: str) -> VideoKind:
    """A file, a camera of this machine, a stream from elsewhere, or a GStreamer pipeline."""
    if _DEVICE.fullmatch(video):
        return "camera"
    if " ! " in video:
        return "pipeline"
    scheme = _SCHEME.match(video)
    return "url" if scheme is not None and scheme[1].lower() != "file" else "file"


def shown_video(video: str) -> str:
    """The name that samples and messages have: without a user and password that a URL may hold."""
    return f"camera{video}" if video.isdecimal() else _CREDENTIALS.sub("", video)
