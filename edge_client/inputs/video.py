"""Video files, cameras and streams through OpenCV: every Nth frame is a picture."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Generator, Iterator

from edge_client.inference.sample import Sample
from edge_client.inputs.base import Item, Skip, Source
from edge_client.inputs.capture import STALLED_S, Capture
from edge_client.inputs.images import from_array
from edge_client.inputs.newest_frame import GrabbedFrame, NewestFrame
from edge_client.link.backoff import Backoff
from edge_client.video_name import kind_of, shown_video
from shared.errors import SourceError
from shared.network_spec import Shape
from shared.picture_fit import PictureFit

PAUSES = Backoff(first_s=1.0, longest_s=30.0)
"""Between two tries to open a camera or a stream again."""

RELEASE_S = 1.0
"""How long the end of a run waits for OpenCV, which may be waiting for a frame."""

log = logging.getLogger(__name__)


class VideoSource(Source):
    """Frames 0, N, 2N, ... of a video, camera or stream. Names end in the frame's number.

    A file ends. A camera or a stream that gives no more frames is an error, or is opened again as often as it takes.

    Args:
        video: a path, a camera's index or device, a URL, or a GStreamer pipeline.
        every: N.
        shape, fit: of the bundle's pictures, [C, H, W], and how a frame becomes one.
        skip, limit: as of other sources.
        reconnect: open it again when it is lost; True also waits for it at the start. None: a URL is opened again.
        latest: skip frames that came while no frame was asked for.
        pauses: between two tries.

    Raises:
        SourceError: it cannot be opened.
        ConfigError: OpenCV is not installed.
    """

    def __init__(
        self,
        video: str,
        every: int,
        shape: Shape,
        fit: PictureFit,
        skip: Skip,
        limit: int | None,
        *,
        reconnect: bool | None = None,
        latest: bool = False,
        pauses: Backoff = PAUSES,
    ) -> None:
        self._video = video
        self._name = shown_video(video)
        self._every = every
        self._shape = shape
        self._fit: PictureFit = fit
        self._skip = skip
        self._limit = limit
        self._reconnects = kind_of(video) == "url" if reconnect is None else reconnect
        self._latest = latest
        self._pauses = pauses
        self._closed = threading.Event()
        self._released = threading.Event()
        self._frame = 0
        """The number of the next frame; it counts on when the video is opened again."""
        self._taken = 0
        """Frames that were samples, or done before."""
        self._failures = 0
        """Tries in a row that gave no frame."""
        self.read_ahead = not latest
        self._capture = self._open_first(wait=reconnect is True)
        frames = 0 if self._capture is None else self._capture.frames
        there = -(-frames // every) if frames > 0 else None
        self.count = there if limit is None else limit if there is None else min(limit, there)

    def close(self) -> None:
        self._closed.set()
        # A thread that is inside OpenCV when Python ends would take the process down.
        self._released.wait(RELEASE_S)

    def __iter__(self) -> Iterator[Item]:
        try:
            while not self._enough():
                if self._capture is None and not self._open_again():
                    return
                capture = self._capture
                assert capture is not None
                with contextlib.closing(self._frames(capture)) as frames:
                    for frame in frames:
                        name = f"{self._name}#{frame.number}"
                        taken_at = frame.taken_at if capture.live else None
                        fitted = from_array(frame.picture, self._shape, self._fit)
                        yield Sample(self._taken - 1, name, None, fitted, taken_at=taken_at)
                if self._closed.is_set() or self._enough():
                    return
                if not capture.live:
                    self._check_end(capture.frames)
                    return
                self._lost()
        finally:
            if self._capture is not None:
                self._capture.release()
            self._released.set()

    def _enough(self) -> bool:
        return self._limit is not None and self._taken >= self._limit

    def _frames(self, capture: Capture) -> Generator[GrabbedFrame, None, None]:
        """Those that are samples, until the capture gives no more or they are enough."""
        if not self._latest:
            yield from self._in_order(capture)
            return
        with contextlib.closing(NewestFrame(capture, self._frame, self._every)) as newest:
            for frame in newest:
                self._taken += 1
                self._failures, self._frame = 0, frame.number + 1
                yield frame
                if self._enough() or self._closed.is_set():
                    break
        self._frame = newest.number

    def _in_order(self, capture: Capture) -> Iterator[GrabbedFrame]:
        while not self._enough() and not self._closed.is_set():
            number = self._frame
            wanted = number % self._every == 0 and not self._skip(f"{self._name}#{number}")
            if not capture.grab():
                return
            taken_at = time.time()
            picture = capture.picture() if wanted else None
            if wanted and picture is None:
                return
            self._failures, self._frame = 0, number + 1
            self._taken += number % self._every == 0
            if picture is not None:
                yield GrabbedFrame(number, taken_at, picture)

    def _check_end(self, promised: int) -> None:
        if self._frame == 0:
            raise SourceError(f"{self._name}: no frame can be read: is it a video?")
        if self._frame < promised:
            # Containers promise more than there is; a file that was cut off does, too.
            log.warning("%s: ended after frame %d of %d", self._name, self._frame, promised)

    def _lost(self) -> None:
        """The camera or stream gives no more frames: release it, so that it can be opened again.

        Raises:
            SourceError: it is not to be opened again.
        """
        assert self._capture is not None
        self._capture.release()
        self._capture = None
        said = f"{self._name}: no more frames after {self._frame}: unplugged, closed, or silent for {STALLED_S:g} s"
        if not self._reconnects:
            raise SourceError(f"{said}; --reconnect opens it again")
        log.warning("%s; opening it again", said)

    def _open_first(self, *, wait: bool) -> Capture | None:
        try:
            return Capture(self._video)
        except SourceError as error:
            if not wait:
                raise
            log.warning("%s; waiting for it (--reconnect)", error)
            return None

    def _open_again(self) -> bool:
        """Try until it is open; False if the source was closed meanwhile."""
        began = time.monotonic()
        while not self._closed.wait(self._pauses.pause_s(self._failures)):
            self._failures += 1
            try:
                self._capture = Capture(self._video)
            except SourceError as error:
                log.debug("%s", error)
                continue
            log.info("%s: open again after %.1f s", self._name, time.monotonic() - began)
            return True
        return False
