"""How events are binned into frames, one for each timestep of a network."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shared.binning import Binning
from shared.datasets.base import Pixels
from shared.datasets.event_type import BLOCK, Events, Sensor
from shared.errors import SourceError

ON, OFF = 0, 1
"""Channel of each polarity in a frame."""

MOST = 255
"""A pixel's count in one frame saturates here (uint8); real recordings at T=5 stay under 25."""

Span = tuple[int, int]
"""From a time to a time, us; the second time is excluded."""


def extent(events: Events) -> Sensor:
    """(height, width) of the smallest sensor from pixel (0, 0) that holds all events; (1, 1) without any."""
    if not len(events):
        return 1, 1
    return int(events["y"].max()) + 1, int(events["x"].max()) + 1


def bin_events(
    events: Events,
    timesteps: int,
    sensor: Sensor,
    *,
    size: int | None = None,
    by: Binning = "count",
    span: Span | None = None,
) -> Pixels:
    """Count events into frames, uint8 [timesteps, 2, H, W], channel 0 ON and 1 OFF, saturating at 255.

    Args:
        events: ordered by time.
        timesteps: number of frames T.
        sensor: (height, width) of the camera in pixels.
        size: None keeps the sensor's shape; else frames are size x size, the longer side scaled to `size`, the picture
            centred, counts of merged pixels added (enlarging leaves gaps: an event stays one event).
        by: "count" puts the same number of events (+-1) into each frame, "time" makes all frames equally long.
        span: what is divided by "time"; None: from the first event to the last.

    Raises:
        SourceError: an event lies outside the sensor, or they last too long to be counted in microseconds.
    """
    height, width = sensor
    rows, columns = extent(events)
    if rows > height or columns > width:
        raise SourceError(f"an event at column {columns - 1}, row {rows - 1} at most lies outside {width} x {height}")
    shape = (timesteps, 2, height, width) if size is None else (timesteps, 2, size, size)
    counts = np.zeros(shape[0] * shape[1] * shape[2] * shape[3], np.int64)
    for low, high in pairwise([*range(0, len(events), BLOCK), len(events)]):
        block = events[low:high]
        if by == "count":
            frame = np.arange(low, high, dtype=np.int64) * timesteps // len(events)
        else:
            frame = _frames_by_time(block["t"], timesteps, span or (int(events["t"][0]), int(events["t"][-1]) + 1))
        y, x = block["y"].astype(np.int64), block["x"].astype(np.int64)
        if size is not None:
            # whole numbers only: floor((2 x + 1 + side - width) size / (2 side)) is the pixel under the event's centre
            side = max(height, width)
            y = (2 * y + 1 + side - height) * size // (2 * side)
            x = (2 * x + 1 + side - width) * size // (2 * side)
        channel = np.where(block["polarity"], ON, OFF)
        places = ((frame * 2 + channel) * shape[2] + y) * shape[3] + x
        counts += np.bincount(places, minlength=len(counts))
    return np.minimum(counts, MOST).astype(np.uint8).reshape(shape)


def _frames_by_time(t: NDArray[np.int64], timesteps: int, span: Span) -> NDArray[np.int64]:
    begin, end = span
    if (end - begin) * timesteps > np.iinfo(np.int64).max:
        raise SourceError(f"its events last {end - begin} us: times are needed in us")
    return np.asarray((t.astype(np.int64) - begin) * timesteps // (end - begin), np.int64)
