"""Gathers the events of one recording, block by block: each number checked, times on one line, memory bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.datasets import event_numbers
from shared.datasets.event_clock import EventClock, order_by_time
from shared.datasets.event_type import BLOCK, EVENT, Events, Sensor
from shared.errors import SourceError

ARRAY_BITS = 32
"""Times in arrays came from a counter of so many bits, if they overflow."""


@dataclass(frozen=True)
class Recording:
    """Events of one camera.

    Attributes:
        events: ordered by time.
        sensor: (height, width) as the file or its format says; None where neither does.
        notes: what is odd, for people.
    """

    events: Events
    sensor: Sensor | None = None
    notes: tuple[str, ...] = ()


class Collector:
    """Takes blocks of events in the order of the file.

    Args:
        clock: puts the times on one line.
        expected: how many events there will be, where that is known.
        most_bytes: the events may take in memory; None for any number.

    Raises:
        SourceError: `expected` events are too many.
    """

    def __init__(self, clock: EventClock, expected: int = 0, most_bytes: int | None = None) -> None:
        self._clock = clock
        self._polarities = event_numbers.Polarities()
        self._most = most_bytes
        self._count = 0
        self.make_room(expected)
        self._events = np.empty(expected, EVENT)

    def make_room(self, more: int) -> None:
        """Refuse what would be too much, before it is expanded.

        Raises:
            SourceError: `more` events do not fit.
        """
        needed = (self._count + more) * EVENT.itemsize
        if self._most is not None and needed > self._most:
            raise SourceError(
                f"it holds {self._count + more:,} events or more, {-(-needed // 1_000_000):,} MB in memory: more than "
                f"--max-recording {self._most // 1_000_000:,} MB"
            )

    def add(self, x: NDArray[Any], y: NDArray[Any], polarity: NDArray[Any], t: NDArray[Any]) -> None:
        """The next events, four arrays [n].

        Raises:
            SourceError: a number is none that an event can have (field, value and row are named), or they are too many.
        """
        for low in range(0, len(t), BLOCK):
            self._add_block(*(column[low : low + BLOCK] for column in (x, y, polarity, t)))

    def recording(self, sensor: Sensor | None = None, *, from_zero: bool = False) -> Recording:
        """Everything that was added, in order of time. With `from_zero` times count from the first event."""
        self._events.resize(self._count, refcheck=False)
        notes = [*self._clock.notes, *order_by_time(self._events)]
        if from_zero and self._count:
            self._events["t"] -= self._events["t"][0]
        return Recording(self._events, sensor, tuple(notes))

    def _add_block(self, x: NDArray[Any], y: NDArray[Any], polarity: NDArray[Any], t: NDArray[Any]) -> None:
        self.make_room(len(t))
        row, end = self._count, self._count + len(t)
        if end > len(self._events):
            # The system moves pages, it copies nothing; a new array beside the old one would take twice the memory.
            self._events.resize(max(end, len(self._events) * 5 // 4, BLOCK), refcheck=False)
        block = self._events[row:end]
        block["x"] = event_numbers.coordinates(x, "x", row)
        block["y"] = event_numbers.coordinates(y, "y", row)
        block["polarity"] = self._polarities.check(polarity, row)
        block["t"] = self._clock.line(event_numbers.times(t, row))
        self._count = end


def collect_arrays(
    x: ArrayLike, y: ArrayLike, polarity: ArrayLike, t: ArrayLike, most_bytes: int | None = None
) -> Recording:
    """Events from four arrays [n], in any order: a stable sort puts them into order of time.

    Raises:
        SourceError: they are not numbers, not as many of each, or a number is none that an event can have.
    """
    if any(np.ma.is_masked(values) for values in (x, y, polarity, t)):
        raise SourceError("some values of x, y, t or polarity are masked: leave those events out")
    columns: Sequence[NDArray[Any]] = [np.asarray(values) for values in (x, y, polarity, t)]
    count = columns[0].size
    if not all(column.shape == (count,) for column in columns):
        raise SourceError("x, y, t and polarity must be lists of numbers, equally long")
    _check_width(columns[3])
    collector = Collector(EventClock(ARRAY_BITS, undo_set_backs=False), count, most_bytes)
    collector.add(*columns)
    return collector.recording()


def _check_width(t: NDArray[Any]) -> None:
    """Whole numbers of 16 bits and fewer overflow after 65 ms at most: then nobody can tell that from disorder."""
    if t.dtype.kind in "iu" and t.dtype.itemsize * 8 < ARRAY_BITS and (back := np.flatnonzero(t[1:] < t[:-1])).size:
        raise SourceError(
            f"t is {t.dtype} and goes back in row {back[0] + 1}: an overflow or disorder? Give a wider type"
        )


def make_events(x: ArrayLike, y: ArrayLike, polarity: ArrayLike, t: ArrayLike) -> Events:
    """The events of `collect_arrays`; errors as there."""
    return collect_arrays(x, y, polarity, t).events
