"""Windows that wait for the network: a few, and the oldest is dropped where there are more."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edge_client.heads.base import InputArray
from edge_client.inputs.base import Unreadable
from edge_client.inputs.live_events.counts import StreamCounts

SAY_EVERY_S = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveWindow:
    """A window as the network takes it: its name, frames uint8 [T, 2, H, W], and as of `Sample` the rest."""

    name: str
    label: int | None
    pixels: InputArray
    time_s: float
    taken_at: float


class WindowBuffer:
    """Between the thread that receives and the one that classifies.

    Args:
        most: that wait.
        counts: gets the dropped ones.
        clock: seconds.
    """

    def __init__(self, most: int, counts: StreamCounts, clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting: deque[LiveWindow | Unreadable] = deque()
        self._most = most
        self._counts = counts
        self._clock = clock
        self._changed = threading.Condition()
        self._ended = False
        self._error: Exception | None = None
        self._say_at = clock()
        self._unsaid = 0

    def put(self, item: LiveWindow | Unreadable) -> None:
        """One more; never waits."""
        with self._changed:
            if len(self._waiting) == self._most:
                self._waiting.popleft()
                self._counts.dropped_windows += 1
                self._unsaid += 1
            self._waiting.append(item)
            self._changed.notify()
        self._say()

    def end(self, error: Exception | None = None) -> None:
        """No more come; `get` raises `error` after what waits."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify()
        self._say(at_once=True)

    def get(self) -> LiveWindow | Unreadable | None:
        """Wait for the oldest; None after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            if self._waiting:
                return self._waiting.popleft()
            if self._error is not None:
                raise self._error
            return None

    def _say(self, *, at_once: bool = False) -> None:
        if self._unsaid and (at_once or self._clock() >= self._say_at):
            log.warning(
                "the network is slower than the stream: %d windows were dropped, the oldest (--window-buffer %d)",
                self._unsaid,
                self._most,
            )
            self._unsaid, self._say_at = 0, self._clock() + SAY_EVERY_S
