"""The times of a live sender on one line, batch by batch.

`shared/datasets/event_clock.py` does the same for recordings, where all is known before anything is decided. Here a
packet may have been overtaken, and a camera may start again while the edge goes on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]

SET_BACK_US = 1_000_000
"""Events that are older than the newest by more than this come from a clock that was set; others were overtaken."""

SET_AHEAD_US = 60_000_000
"""A pause of more than this is a clock that was set ahead."""

MOST_SETS = 8
"""In one batch. Beyond it the times mean nothing."""

MOST_TIME = 1 << 53


class StreamClock:
    """Raw times to times that go on, in us. Where a clock was set, times go on from the newest.

    Args:
        bits: of the sender's counter, 32 or 64.

    Attributes:
        sets: how often it was set.
    """

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self.sets = 0
        self._newest_raw = 0
        self._started = False
        self._newest = 0

    def line(self, raw: NDArray[np.integer]) -> Times | None:
        """The next times [n], n > 0; None where they are no times of one clock."""
        if self._bits == 64 and int(raw.max()) > MOST_TIME:
            return None
        values = raw.astype(np.int64)
        if not self._started:
            self._started = True
            self._newest_raw = self._newest = int(values[0])
        times = np.empty(len(values), np.int64)
        place, sets = 0, 0
        while True:
            steps = self._since_newest(values[place:])
            odd = (steps < -SET_BACK_US) | (np.diff(np.maximum.accumulate(steps), prepend=0) > SET_AHEAD_US)
            end = int(odd.argmax()) if odd.any() else len(steps)
            times[place : place + end] = self._newest + steps[:end]
            if end and (ahead := int(steps[:end].max())) > 0:
                self._newest_raw = int(values[place + int(steps[:end].argmax())])
                self._newest += ahead
            place += end
            if place == len(values):
                break
            sets += 1
            if sets > MOST_SETS:
                return None
            self._newest_raw = int(values[place])
        self.sets += sets
        return times

    def _since_newest(self, raw: Times) -> Times:
        steps = raw - self._newest_raw
        if self._bits == 64:
            return steps
        turn = 1 << self._bits
        return np.asarray(((steps + turn // 2) & (turn - 1)) - turn // 2, np.int64)
