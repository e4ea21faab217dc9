"""The times of one camera on one line: overflows of its counter undone, a clock that was set told of.

A recording's times are raw: a counter of 23 to 34 bits that starts again at 0, and that a camera sets while it records.
`EventClock` mends them in the order of the file, before anything is sorted. `order_by_time` does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shared.datasets.event_type import BLOCK, Events

Times = NDArray[np.int64]

DISORDER_US = 10_000
"""Events that are older than the one before them by up to this are out of order: sorted, and no word said."""

OVERFLOW_GAP_US = 60_000_000
"""A counter that starts again has overflowed if that means a pause of at most this; else it was set back."""

JUMP_US = 500_000
"""A pause of more than this, and longer than all the rest of the recording, is a clock that was set."""


@dataclass
class EventClock:
    """Raw times, block by block in the order of the file, to times that go on.

    Attributes:
        bits: of the camera's counter.
        undo_set_backs: False for arrays, which may hold events in any order: they are told of, and sorted.
        notes: what was found, for people.
        set_backs: how often times went back that no overflow explains.
    """

    bits: int
    undo_set_backs: bool = True
    notes: list[str] = field(default_factory=list)
    set_backs: int = 0
    _last: int | None = None
    _offset: int = 0
    _count: int = 0

    def line(self, raw: Times) -> Times:
        """The next times [n], in us."""
        if not len(raw):
            return raw
        steps = np.diff(raw, prepend=raw[0] if self._last is None else self._last)
        odd = np.flatnonzero((steps < -DISORDER_US) | (steps >= (1 << self.bits) - DISORDER_US))
        added = [self._mend(int(steps[place]), int(place)) for place in odd]
        times = raw + self._offset
        for place, more in zip(odd, added, strict=True):
            if more:
                times[place:] += more
                self._offset += more
        self._last = int(raw[-1])
        self._count += len(raw)
        return times

    def _mend(self, step: int, place: int) -> int:
        """What is added to the times from this event on."""
        turn = 1 << self.bits
        if step > 0:  # an event from before the overflow comes after it; its neighbours undo this
            return -turn
        if step < -turn // 2 and step + turn <= OVERFLOW_GAP_US:
            return turn
        self.set_backs += 1
        if self.set_backs == 1:
            at = self._count + place + 1
            by = f"{-step / 1e6:,.3f} s at event {at:,}"
            self.notes.append(
                f"its clock was set back by {by}: its times go on from there"
                if self.undo_set_backs
                else f"its times go back by {by}: its events are put in order of time"
            )
        elif self.set_backs == 2:
            self.notes.append("that happens more than once")
        return -step if self.undo_set_backs else 0


def order_by_time(events: Events) -> list[str]:
    """Put events in order of time, in place (stable: equal times keep their order), and take pauses of a set clock out.

    Returns:
        What was found, for people.
    """
    t = events["t"]
    if any(np.any(np.diff(t[low : high + 1]) < 0) for low, high in _blocks(len(t))):
        order = np.argsort(t, kind="stable")
        for name in ("x", "y", "polarity", "t"):
            events[name] = events[name][order]
    notes = []
    while (found := _longest_pause(t)) is not None:
        place, pause = found
        for low in range(place, len(t), BLOCK):
            t[low : low + BLOCK] -= pause
        notes.append(f"its clock jumps ahead by {pause / 1e6:,.3f} s at event {place + 1:,}: the pause is taken out")
    return notes


def _longest_pause(t: Times) -> tuple[int, int] | None:
    """(first event after it, us) of a pause that is no recording's."""
    if len(t) < 2 or int(t[-1]) - int(t[0]) <= JUMP_US:
        return None
    place, pause = 0, 0
    for low, high in _blocks(len(t)):
        steps = np.diff(t[low : high + 1])
        best = int(steps.argmax()) if len(steps) else 0
        if len(steps) and int(steps[best]) > pause:
            place, pause = low + best + 1, int(steps[best])
    return (place, pause) if pause > max(JUMP_US, int(t[-1]) - int(t[0]) - pause) else None


def _blocks(count: int) -> list[tuple[int, int]]:
    """Ranges of `BLOCK` events, each up to the first event of the next one."""
    edges = [*range(0, count, BLOCK), count]
    return list(pairwise(edges))
