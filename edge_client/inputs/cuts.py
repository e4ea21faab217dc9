"""Cuts events into samples, as a `Window` says: those of a recording at once, and those of a stream as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.windows import Window
from shared.datasets.event_type import EVENT, Events
from shared.datasets.events import Span

NO_EVENTS: Events = np.empty(0, EVENT)


@dataclass(frozen=True)
class Cut:
    """One sample of a recording: its events, when it begins (us after the first event), and the time that it spans."""

    events: Events
    start_us: int
    span: Span | None


def cuts(events: Events, window: Window | None, *, empty: bool = False) -> Iterator[Cut]:
    """The samples of a recording [n], which are views.

    Without a window, or if no window is full, the whole recording is one sample. Events after the last full window give
    none. `empty`: see `Cutter`.
    """
    if window is None or not len(events):
        yield Cut(events, 0, None)
        return
    cutter = Cutter(window, empty=empty)
    yield from cutter.push(events)
    yield from cutter.finish()


class Cutter:
    """Cuts events that come batch by batch.

    Args:
        window: how.
        empty: also give windows of time without an event; by default they are none.

    Attributes:
        reordered: events that were older than one before them.
        late: events that came after the windows that they belong to, and are left out.
    """

    def __init__(self, window: Window, *, empty: bool = False) -> None:
        self._window = window
        self._empty = empty
        self._parts: list[Events] = []
        """What the next window begins with, in order of time, in pieces."""
        self._count = 0
        """Events in `_parts`."""
        self._first: int | None = None
        """The time of the first event of all."""
        self._start = 0
        """Of time: when the next window begins, us."""
        self._gap = 0
        """Of count: events to come that lie between two windows."""
        self._floor: int | None = None
        """Events before this time are late."""
        self._any = False
        self.reordered = 0
        self.late = 0

    def push(self, events: Events) -> Iterator[Cut]:
        """The next events [n], by and large in order of time; the windows that are full with them."""
        events = self._in_order(events)
        if not len(events):
            return
        if self._first is None:
            self._first = self._start = int(events["t"][0])
        left_out = min(self._gap, len(events))
        self._gap -= left_out
        if left_out < len(events):
            self._parts.append(events[left_out:])
        self._count += len(events) - left_out
        yield from self._by_count() if self._window.by == "count" else self.advance(int(events["t"][-1]))

    def advance(self, t_us: int) -> Iterator[Cut]:
        """The windows of time that have ended by now, whether an event came since or not."""
        window = self._window
        if self._first is None or window.by == "count" or t_us < self._start + window.length:
            return
        events = self._joined()
        t = np.ascontiguousarray(events["t"])
        while self._start + window.length <= t_us:
            span = self._start, self._start + window.length
            low, high = (int(place) for place in np.searchsorted(t, span))
            if low < high or self._empty:
                yield self._cut(events[low:high], self._start, span)
                self._start += window.stride
            else:
                self._start = self._next_start(t[high:], t_us)
        keep = int(np.searchsorted(t, self._start))
        self._floor = self._start
        self._keep(events[keep:])

    def finish(self) -> Iterator[Cut]:
        """No more events come: a last window of time that is full; or everything, where there was no window at all."""
        if self._first is None:
            return
        if self._count:
            yield from self.advance(int(self._joined()["t"][-1]) + 1)
        if not self._any:
            yield Cut(self._joined(), 0, None)

    def _by_count(self) -> Iterator[Cut]:
        window = self._window
        if self._count < window.length:
            return
        events, low = self._joined(), 0
        while low + window.length <= len(events):
            yield self._cut(events[low : low + window.length], int(events["t"][low]), None)
            low += window.stride
        self._floor = int(events["t"][min(low, len(events)) - 1])
        self._gap = max(0, low - len(events))
        self._keep(events[low:])

    def _next_start(self, later: NDArray[np.int64], t_us: int) -> int:
        """The first start from which a window holds the next event, or is not over yet."""
        window = self._window
        until = int(later[0]) if len(later) else t_us
        # The window [start, start + length) holds `until` where start > until - length.
        steps = (until - window.length - self._start) // window.stride + 1
        return self._start + max(1, steps) * window.stride

    def _cut(self, events: Events, start: int, span: Span | None) -> Cut:
        assert self._first is not None
        self._any = True
        return Cut(events, start - self._first, span)

    def _in_order(self, events: Events) -> Events:
        """The events in order of time, also with regard to those before, without late ones."""
        if not len(events):
            return events
        t = np.ascontiguousarray(events["t"])
        newest = int(self._parts[-1]["t"][-1]) if self._count else self._floor
        before = np.maximum.accumulate(t)
        if newest is not None:
            np.maximum(before, newest, out=before)
        if not (overtaken := t < before).any():
            return events
        late = np.zeros(len(t), np.bool_) if self._floor is None else t < self._floor
        self.late += int(late.sum())
        self.reordered += int((overtaken & ~late).sum())
        kept = [*self._parts, events[~late]]
        together = np.concatenate(kept)
        together = together[np.argsort(together["t"], kind="stable")]
        self._parts, self._count = [], 0
        return together

    def _joined(self) -> Events:
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0] if self._parts else NO_EVENTS

    def _keep(self, events: Events) -> None:
        self._parts = [events] if len(events) else []
        self._count = len(events)
