"""OpenCV's capture of a video, opened with what its kind needs."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.video_name import VideoKind, kind_of, shown_video
from shared.errors import ConfigError, SourceError

Picture = NDArray[np.uint8]
"""[H, W, 3], RGB."""

STALLED_S = 10.0
"""A stream that opens no connection, or sends no frame, for this time has ended."""

_TRY: dict[VideoKind, str] = {
    "file": "no such file, or no video in a format that OpenCV knows here",
    "camera": "see that it is plugged in, free, and yours to use",
    "url": f"no one sends there, or nothing came within {STALLED_S:g} s that OpenCV knows here",
    "pipeline": "GStreamer does not take it: it must end in `appsink`, and each of its elements be installed",
}


class Capture:
    """An open video. Release it.

    Args:
        video: a path, a camera's index or device, a URL, or a GStreamer pipeline.

    Attributes:
        frames: how many it promises, 0 where it does not say.
        live: it has no end: a camera, a stream, a pipeline. A file that is read over HTTP ends.

    Raises:
        SourceError: it cannot be opened.
        ConfigError: OpenCV is not installed, or has no GStreamer.
    """

    def __init__(self, video: str) -> None:
        kind = kind_of(video)
        self._capture = _open(video, kind)
        if not self._capture.isOpened():
            raise SourceError(f"--video {shown_video(video)}: cannot be opened: {_TRY[kind]}")
        promised = 0 if kind in ("camera", "pipeline") else int(self._capture.get(_cv2().CAP_PROP_FRAME_COUNT))
        self.frames = max(promised, 0)
        self.live = kind in ("camera", "pipeline") or (kind == "url" and not self.frames)

    def grab(self) -> bool:
        """Wait for the next frame; False where there is none, or none came in time."""
        return bool(self._capture.grab())

    def picture(self) -> Picture | None:
        """The frame that was grabbed; None if it cannot be decoded."""
        there, pixels = self._capture.retrieve()
        if not there:
            return None
        rgb: Picture = _cv2().cvtColor(pixels, _cv2().COLOR_BGR2RGB)
        return rgb

    def release(self) -> None:
        """Release the camera or the file. May be called twice."""
        self._capture.release()


def _open(video: str, kind: VideoKind) -> Any:
    cv2 = _cv2()
    if kind == "camera":
        capture = cv2.VideoCapture(int(video)) if video.isdecimal() else cv2.VideoCapture(video)
        # The newest frame, not those of seconds ago.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture
    limit = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(STALLED_S * 1e3)]
    limit += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(STALLED_S * 1e3)]
    if kind == "url":
        return cv2.VideoCapture(video, cv2.CAP_FFMPEG, limit)
    if kind == "pipeline":
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise ConfigError(
                "--video is a GStreamer pipeline, and this OpenCV has no GStreamer, as none of the package index has: "
                "take the system's (Debian, Raspberry Pi OS: python3-opencv) in an environment made with "
                "--system-site-packages"
            )
        return cv2.VideoCapture(video, cv2.CAP_GSTREAMER)
    return cv2.VideoCapture(video)


def _cv2() -> Any:
    # Our messages say what its libraries would log about a stream.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2  # noqa: PLC0415  the extra `video`
    except ImportError:
        raise ConfigError("video needs OpenCV: pip install '.[video]' in a checkout") from None
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
