"""Cuts a recording into samples, as a `Window` says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge_client.windows import Window
from shared.datasets.event_type import Events
from shared.datasets.events import Span


@dataclass(frozen=True)
class Cut:
    """One sample of a recording: its events, when it begins (us after the first event), and the time that it spans."""

    events: Events
    start_us: int
    span: Span | None


def cuts(events: Events, window: Window | None) -> Iterator[Cut]:
    """The samples of a recording [n], which are views.

    Without a window, or if no window is full, the whole recording is one sample.

    A window of time without an event gives no sample; nor do the events after the last full window.
    """
    t = events["t"]
    first = int(t[0]) if len(t) else 0
    whole = Cut(events, 0, None)
    if window is None or not len(t):
        yield whole
    elif window.by == "count":
        if len(t) < window.length:
            yield whole
        for low in range(0, len(t) - window.length + 1, window.stride):
            yield Cut(events[low : low + window.length], int(t[low]) - first, None)
    else:
        lasts = int(t[-1]) + 1 - first
        if lasts < window.length:
            yield whole
        for start in range(0, lasts - window.length + 1, window.stride):
            span = first + start, first + start + window.length
            low, high = np.searchsorted(t, span)
            if low < high:
                yield Cut(events[low:high], start, span)
