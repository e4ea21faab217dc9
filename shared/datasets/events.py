"""Events of a camera, and their binning into frames, one for each timestep of a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.binning import Binning
from shared.datasets.base import Pixels
from shared.errors import SourceError

EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("polarity", "?"), ("t", "<i8")])
"""One event: column, row (0 at the top), ON (True) or OFF, time in microseconds."""

Events = NDArray[np.void]
"""A structured array [n] of `EVENT`, ordered by time."""

ON, OFF = 0, 1
"""Channel of each polarity in a frame."""

NUMBERS = "biuf"
"""Kinds of numpy types that are numbers."""

MOST = 255
"""A pixel's count in one frame saturates here (uint8); real recordings at T=5 stay under 25."""


def make_events(x: ArrayLike, y: ArrayLike, polarity: ArrayLike, t: ArrayLike) -> Events:
    """Events from four arrays [n], put into order of time (a stable sort: equal times keep their order).

    Args:
        x: columns.
        y: rows, 0 at the top.
        polarity: true for ON.
        t: times in microseconds.

    Raises:
        SourceError: they are not numbers, or not as many of each.
    """
    columns = [np.asarray(values) for values in (x, y, polarity, t)]
    count = columns[0].size
    if not all(column.shape == (count,) and column.dtype.kind in NUMBERS for column in columns):
        raise SourceError("x, y, t and polarity must be lists of numbers, equally long")
    times = columns[3].astype(np.int64)
    events = np.empty(count, EVENT)
    events["x"], events["y"], events["polarity"], events["t"] = *columns[:2], columns[2].astype(bool), times
    if np.any(times[1:] < times[:-1]):
        events = events[np.argsort(times, kind="stable")]
    return events


def extent(events: Events) -> tuple[int, int]:
    """(height, width) of the smallest sensor from pixel (0, 0) that contains all events; (1, 1) without any."""
    if not len(events):
        return 1, 1
    return int(events["y"].max()) + 1, int(events["x"].max()) + 1


def bin_events(
    events: Events, timesteps: int, sensor: tuple[int, int], *, size: int | None = None, by: Binning = "count"
) -> Pixels:
    """Count events into frames, uint8 [timesteps, 2, H, W], channel 0 ON and 1 OFF, saturating at 255.

    Args:
        events: ordered by time.
        timesteps: number of frames T.
        sensor: (height, width) of the camera in pixels.
        size: None keeps the sensor's shape; else frames are size x size, the longer side scaled to `size`, the picture
            centred, counts of merged pixels added (enlarging leaves gaps: an event stays one event).
        by: "count" puts the same number of events (+-1) into each frame, "time" makes all frames equally long.

    Raises:
        SourceError: an event lies outside the sensor.
    """
    height, width = sensor
    rows, columns = extent(events)
    if rows > height or columns > width:
        raise SourceError(f"an event at column {columns - 1}, row {rows - 1} at most lies outside {width} x {height}")
    frame = _frame_index(events, timesteps, by)
    y, x = events["y"].astype(np.int64), events["x"].astype(np.int64)
    if size is not None:
        # whole numbers only: floor((2 x + 1 + side - width) size / (2 side)) is the pixel under the event's centre
        side = max(height, width)
        y = (2 * y + 1 + side - height) * size // (2 * side)
        x = (2 * x + 1 + side - width) * size // (2 * side)
        height = width = size
    channel = np.where(events["polarity"], ON, OFF)
    flat = ((frame * 2 + channel) * height + y) * width + x
    counts = np.bincount(flat, minlength=timesteps * 2 * height * width)
    return np.minimum(counts, MOST).astype(np.uint8).reshape(timesteps, 2, height, width)


def _frame_index(events: Events, timesteps: int, by: Binning) -> NDArray[np.int64]:
    if by == "count":
        return np.arange(len(events), dtype=np.int64) * timesteps // max(len(events), 1)
    t = events["t"].astype(np.int64)
    if not len(t):
        return t
    duration = int(t[-1]) - int(t[0]) + 1
    if duration * timesteps > np.iinfo(np.int64).max:
        raise SourceError(f"its events last {duration} us: times are needed in us")
    return np.asarray((t - t[0]) * timesteps // duration, np.int64)
