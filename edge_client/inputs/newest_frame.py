"""The newest frame of a camera or stream: a thread takes them all, and keeps one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from edge_client.inputs.capture import Capture, Picture


class GrabbedFrame(NamedTuple):
    """A frame that was grabbed: its number, when that was in seconds since 1970, and its picture."""

    number: int
    taken_at: float
    picture: Picture


class NewestFrame:
    """Iterate over it for frames. It drops those that came while no frame was asked for. Close it.

    Args:
        capture: open; the thread alone uses it until `close` returns.
        first: the number of its first frame.
        every: N; only frames 0, N, 2N, ... are handed out.

    Attributes:
        number: of the next frame.
    """

    def __init__(self, capture: Capture, first: int, every: int) -> None:
        self._capture = capture
        self.number = first
        self._every = every
        self._newest: GrabbedFrame | None = None
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._take_all, name="frames", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[GrabbedFrame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._ended)
                frame, self._newest = self._newest, None
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        """End the thread, after the frame that it waits for."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _take_all(self) -> None:
        while not self._ended and self._capture.grab():
            taken_at = time.time()
            if self.number % self._every == 0:
                if (picture := self._capture.picture()) is None:
                    break
                with self._changed:
                    self._newest = GrabbedFrame(self.number, taken_at, picture)
                    self._changed.notify()
            self.number += 1
        with self._changed:
            self._ended = True
            self._changed.notify()
