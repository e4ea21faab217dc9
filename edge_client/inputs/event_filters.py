"""What is left out of events before they are cut: what lies outside a region, and noise of single pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge_client.event_options import EventOptions, Region
from shared.datasets.event_type import Events, Sensor
from shared.errors import SourceError

BLOCK = 1 << 16
"""Events that are looked at together; their number times that of the pixels must be an int64."""

NEVER = -(1 << 62)


def cropped_sensor(sensor: Sensor, region: Region | None) -> Sensor:
    """(height, width) of what is left of a sensor.

    Raises:
        SourceError: the region reaches beyond the sensor.
    """
    if region is None:
        return sensor
    height, width = sensor
    if region.x + region.width > width or region.y + region.height > height:
        raise SourceError(f"--region {region} reaches beyond the camera's {width} x {height} pixels")
    return region.height, region.width


def crop(events: Events, region: Region) -> Events:
    """The events within a region, counted from its corner."""
    x, y = events["x"].astype(np.int64) - region.x, events["y"].astype(np.int64) - region.y
    inside = (x >= 0) & (x < region.width) & (y >= 0) & (y < region.height)
    kept = events[inside]
    kept["x"], kept["y"] = x[inside], y[inside]
    return kept


class BackgroundActivityFilter:
    """Keeps an event where one of the eight pixels around its own had one shortly before.

    The rule is that of Delbruck ("Frame-free dynamic digital vision", 2008), and of dv-processing, whose filter takes
    events one by one from Python: this one takes arrays, and keeps the same events.

    Args:
        sensor: (height, width) in pixels.
        within_us: how long before.
    """

    def __init__(self, sensor: Sensor, within_us: int) -> None:
        height, width = sensor
        self._width = width + 2  # a border that never fires
        self._within = within_us
        self._last = np.full((height + 2) * self._width, NEVER, np.int64)
        """When each pixel had its last event, us."""

    def keep(self, events: Events) -> NDArray[np.bool_]:
        """Which of the next events [n], in order of time and within the sensor, are kept."""
        kept = np.zeros(len(events), np.bool_)
        for low, high in pairwise([*range(0, len(events), BLOCK), len(events)]):
            kept[low:high] = self._block(events[low:high])
        return kept

    def _block(self, events: Events) -> NDArray[np.bool_]:
        count = len(events)
        t = np.ascontiguousarray(events["t"])
        pixel = (events["y"].astype(np.int64) + 1) * self._width + events["x"] + 1
        # Sorted by pixel, then by place: the event before a place at a pixel is found by bisection.
        keys = np.sort(pixel * count + np.arange(count))
        kept = np.zeros(count, np.bool_)
        left = np.arange(count)
        for row in (-1, 0, 1):
            for column in (-1, 0, 1):
                if not (row or column) or not len(left):
                    continue
                first = (pixel[left] + row * self._width + column) * count
                before = np.searchsorted(keys, first + left) - 1
                found = keys[np.maximum(before, 0)] - first
                here = (before >= 0) & (found >= 0)
                last = np.where(here, t[np.where(here, found, 0)], self._last[first // count])
                near = t[left] - last < self._within
                kept[left[near]] = True
                left = left[~near]
        self._last[pixel] = t  # of several at a pixel the last one counts
        return kept


def filter_recording(events: Events, sensor: Sensor, options: EventOptions) -> tuple[Events, Sensor]:
    """A whole recording as `options` say, and (height, width) of what is left of its sensor.

    Raises:
        SourceError: the region reaches beyond the sensor.
    """
    left = cropped_sensor(sensor, options.region)
    if options.region is not None:
        events = crop(events, options.region)
    if options.denoise is not None and len(events):
        inside = (events["x"] < left[1]) & (events["y"] < left[0])
        if not inside.all():
            raise SourceError(f"an event lies outside the camera's {left[1]} x {left[0]} pixels")
        events = events[BackgroundActivityFilter(left, round(options.denoise * 1000)).keep(events)]
    return events, left
