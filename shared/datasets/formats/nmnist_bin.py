"""`.bin`: 40 bits an event, as N-MNIST and N-Caltech101 are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.datasets.event_clock import EventClock
from shared.datasets.event_collector import Collector, Recording
from shared.datasets.formats.disk import blocks, opened, whole_events
from shared.errors import SourceError

OVERFLOW_ROW = 240
OVERFLOW_STEP = 1 << 13
FIVE_BYTES = np.dtype((np.uint8, 5))
TIME_BITS = 23


def read_bin(path: Path, most_bytes: int | None = None) -> Recording:
    """40 bits an event, big-endian: x (8), y (8), polarity (1, set is ON), t in us (23). A sensor of up to 256 x 240.

    Row 240 is no event: it says that the camera's clock overflowed, and moves all later times on by 2^13 us.

    Raises:
        SourceError: the file is empty or its length is not a multiple of 5 bytes, or it is too large; its times jump
            back again and again, as those of other files do (it has no header that would tell them apart).
    """
    with opened(path) as file:
        clock = EventClock(TIME_BITS)
        collector = Collector(clock, whole_events(file, 5, ""), most_bytes)
        overflows = 0
        for fields in blocks(file, FIVE_BYTES):
            x, y, high, middle, low = fields.astype(np.int64).T
            overflow = y == OVERFLOW_ROW
            t = ((high & 0x7F) << 16 | middle << 8 | low) + OVERFLOW_STEP * (overflows + np.cumsum(overflow))
            overflows += int(overflow.sum())
            kept = ~overflow
            collector.add(x[kept], y[kept], high[kept] >> 7, t[kept])
        if clock.set_backs > 1:
            raise SourceError("no recording of 40 bits an event: its times jump back again and again")
        return collector.recording()
