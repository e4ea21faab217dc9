"""Video files and cameras through OpenCV: every Nth frame is a picture."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_client.inference.sample import Sample
from edge_client.inputs.base import Item, Skip, Source
from edge_client.inputs.images import from_array
from shared.errors import ConfigError, SourceError
from shared.network_spec import Shape
from shared.picture_fit import PictureFit

if TYPE_CHECKING:
    import cv2

log = logging.getLogger(__name__)


class VideoSource(Source):
    """Frames 0, N, 2N, ... of a video file, or of the camera with this index; names end in the frame's number.

    Args:
        video: a path, whatever else OpenCV opens, or a camera's index.
        every: N.
        shape, fit: of the bundle's pictures, [C, H, W], and how a frame becomes one.
        skip, limit: as of other sources.

    Raises:
        SourceError: it cannot be opened.
        ConfigError: OpenCV is not installed.
    """

    def __init__(self, video: str, every: int, shape: Shape, fit: PictureFit, skip: Skip, limit: int | None) -> None:
        self._of_camera = video.isdecimal()
        self._video = f"camera{video}" if self._of_camera else video
        self._every = every
        self._shape = shape
        self._fit: PictureFit = fit
        self._skip = skip
        self._capture, self._frames = _open(video)
        there = -(-self._frames // every) if self._frames > 0 else None
        self.count = there if limit is None else limit if there is None else min(limit, there)
        self._limit = limit

    def __iter__(self) -> Iterator[Item]:
        import cv2  # noqa: PLC0415  the extra `video`

        frame = 0
        try:
            while self._limit is None or frame <= (self._limit - 1) * self._every:
                name = f"{self._video}#{frame}"
                wanted = frame % self._every == 0 and not self._skip(name)
                if not self._capture.grab():
                    break
                taken_at = time.time() if self._of_camera else None
                if wanted:
                    there, pixels = self._capture.retrieve()
                    if not there:
                        break
                    rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
                    fitted = from_array(rgb, self._shape, self._fit)
                    yield Sample(frame // self._every, name, None, fitted, taken_at)
                frame += 1
            else:
                return
        finally:
            self._capture.release()
        if frame == 0:
            raise SourceError(f"{self._video}: no frame can be read: is it a video, is the camera free?")
        if frame < self._frames:
            # Containers promise more than there is; a file that was cut off does, too.
            log.warning("%s: ended after frame %d of %d", self._video, frame, self._frames)


def _open(video: str) -> tuple[cv2.VideoCapture, int]:
    """The open capture, and how many frames it promises; 0 where it does not say."""
    try:
        import cv2  # noqa: PLC0415  the extra `video`
    except ImportError:
        raise ConfigError("video needs OpenCV: pip install '.[video]' in a checkout") from None
    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # what it says of a file that it cannot open is in our message
    if video.isdecimal():
        capture = cv2.VideoCapture(int(video))
        # The newest frame, not those of seconds ago.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        what = f"camera {video} cannot be opened: see that it is plugged in, free, and yours to use"
    else:
        capture = cv2.VideoCapture(video)
        what = f"{video}: cannot be opened: no such file, or no video in a format that OpenCV knows here"
    if not capture.isOpened():
        raise SourceError(f"--video {what}")
    frames = 0 if video.isdecimal() else int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return capture, frames
