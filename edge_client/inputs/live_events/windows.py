"""Batches of live events become windows: times mended, what does not belong left out, the rest cut."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge_client.event_options import EventOptions
from edge_client.inputs.cuts import Cut, Cutter
from edge_client.inputs.event_filters import BackgroundActivityFilter, cropped_sensor
from edge_client.inputs.live_events.clock import StreamClock
from edge_client.inputs.live_events.columns import EventColumns
from edge_client.inputs.live_events.counts import StreamCounts
from edge_client.windows import Window
from shared.datasets.event_type import EVENT, Events, Sensor

EVERYTHING = Window("count", 1 << 62, 1 << 62)
"""No window is ever full: at the end all events are one sample."""

LEAST_GRACE_S, MOST_GRACE_S = 0.1, 1.0
"""How long after its end a window of time is open at least and at most, where no event comes. Senders gather events."""

log = logging.getLogger(__name__)


class LiveWindows:
    """One stream from its first event to its last.

    Args:
        name: of the stream, for people.
        window: how it is cut; None: not at all.
        sensor: (height, width) of the camera in pixels.
        options: region and noise.
        time_bits: of the sender's counter.
        counts: gets what happens.
        empty: also give windows of time without an event.
        clock: seconds, for events without a time and for windows in which nothing comes any more.

    Attributes:
        sensor: (height, width) of what is left of the camera's.

    Raises:
        SourceError: the region reaches beyond the sensor.
    """

    def __init__(
        self,
        name: str,
        window: Window | None,
        sensor: Sensor,
        options: EventOptions,
        time_bits: int,
        counts: StreamCounts,
        *,
        empty: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sensor = cropped_sensor(sensor, options.region)
        self._name = name
        self._camera = sensor
        self._region = options.region
        self._counts = counts
        self._clock = clock
        self._times = StreamClock(time_bits)
        self._cutter = Cutter(window or EVERYTHING, empty=empty)
        self._noise = (
            None if options.denoise is None else BackgroundActivityFilter(self.sensor, round(options.denoise * 1000))
        )
        self._grace_s = MOST_GRACE_S
        if window is not None and window.by == "time":
            self._grace_s = min(max(window.length / 1e6, LEAST_GRACE_S), MOST_GRACE_S)
        self._newest: int | None = None
        self._arrived = 0.0

    def take(self, batch: EventColumns) -> Iterator[Cut]:
        """The next events; the windows that are full with them."""
        if not len(batch):
            return
        counts, self._arrived = self._counts, self._clock()
        counts.events += len(batch)
        if batch.t is None:
            t: NDArray[np.int64] | None = np.full(len(batch), int(self._arrived * 1e6), np.int64)
        else:
            t = self._times.line(batch.t)
            counts.clock_sets = self._times.sets
        if t is None:
            counts.malformed += 1
            return
        events = self._within(batch, t)
        if not len(events):
            return
        newest = int(t.max())
        self._newest = newest if self._newest is None else max(newest, self._newest)
        yield from self._counted(self._cutter.push(self._without_noise(events)))

    def idle(self) -> Iterator[Cut]:
        """Nothing came for a moment: the windows of time that have ended meanwhile."""
        if self._newest is not None:
            quiet_s = self._clock() - self._arrived - self._grace_s
            if quiet_s > 0:
                yield from self._counted(self._cutter.advance(self._newest + int(quiet_s * 1e6)))

    def finish(self) -> Iterator[Cut]:
        """The stream has ended."""
        yield from self._counted(self._cutter.finish())

    def _within(self, batch: EventColumns, t: NDArray[np.int64]) -> Events:
        """The events of the sensor and the region."""
        height, width = self._camera
        left, top, bottom, right = 0, 0, height, width
        x, y, polarity = batch.x, batch.y, batch.polarity
        inside = (x < width) & (y < height)
        count = int(np.count_nonzero(inside))
        if count < len(x):
            if not self._counts.outside:
                log.warning(
                    "%s: events lie outside %d x %d pixels and are left out; --sensor says how many the camera has",
                    self._name,
                    width,
                    height,
                )
            self._counts.outside += len(x) - count
        if (region := self._region) is not None:
            left, top, right, bottom = region.x, region.y, region.x + region.width, region.y + region.height
            inside &= (x >= left) & (x < right) & (y >= top) & (y < bottom)
            count, before = int(np.count_nonzero(inside)), count
            self._counts.cropped += before - count
        if count < len(x):
            x, y, polarity, t = x[inside], y[inside], polarity[inside], t[inside]
        events = np.empty(count, EVENT)
        events["x"] = x if not left else x - left
        events["y"] = y if not top else y - top
        events["polarity"] = polarity
        events["t"] = t
        return events

    def _without_noise(self, events: Events) -> Events:
        if self._noise is None:
            return events
        t = events["t"]
        if (t[1:] < t[:-1]).any():
            events = events[np.argsort(t, kind="stable")]
        kept = events[self._noise.keep(events)]
        self._counts.denoised += len(events) - len(kept)
        return kept

    def _counted(self, cuts: Iterator[Cut]) -> Iterator[Cut]:
        for cut in cuts:
            self._counts.windows += 1
            yield cut
        self._counts.reordered, self._counts.late = self._cutter.reordered, self._cutter.late
