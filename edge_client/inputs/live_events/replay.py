"""Recordings played as if they came from a camera: as fast as they were recorded, or some times as fast."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edge_client.inputs.live_events.columns import EventColumns
from edge_client.inputs.live_events.feed import Feed
from shared.datasets.event_collector import Recording
from shared.datasets.event_type import Sensor

SLICE_S = 0.005
"""Events come in batches of so much time, as a camera's driver gives them."""


class ReplayFeed(Feed):
    """One recording. It ends with it.

    Args:
        path: it was read from.
        label: of its folder.
        recording: in memory.
        speed: how many times as fast as it was recorded.
        clock: seconds.
    """

    time_bits = 64

    def __init__(
        self,
        path: Path,
        label: int | None,
        recording: Recording,
        sensor: Sensor,
        speed: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = str(path)
        self.label = label
        self._events = recording.events
        self._sensor = sensor
        self._speed = speed
        self._clock = clock
        self._closed = threading.Event()

    @property
    def sensor(self) -> Sensor | None:
        return self._sensor

    def batches(self) -> Iterator[EventColumns | None]:
        events = self._events
        # A recording's times may be negative, a camera's are not.
        t = events["t"] - (events["t"][0] if len(events) else 0)
        began, low = self._clock(), 0
        while low < len(events):
            if self._closed.wait(SLICE_S):
                return
            played_us = (self._clock() - began) * self._speed * 1e6
            high = int(np.searchsorted(t, played_us))
            part = events[low:high]
            yield EventColumns(part["x"], part["y"], part["polarity"], t[low:high]) if high > low else None
            low = high

    def close(self) -> None:
        self._closed.set()
