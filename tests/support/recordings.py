"""Event recordings written as files, for the readers to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.datasets.event_files import OVERFLOW_ROW
from shared.datasets.events import Events


def write_bin(path: Path, events: Events) -> None:
    """Write events as `read_bin` reads them: x below 256, y below 240, t from 0 to 2^23 - 1 us."""
    x, y, t = (events[name].astype(np.int64) for name in ("x", "y", "t"))
    assert not len(events) or (x.max() < 256 and y.max() < OVERFLOW_ROW and t.min() >= 0 and t.max() < 1 << 23)
    high = events["polarity"].astype(np.int64) << 7 | t >> 16
    path.write_bytes(np.stack([x, y, high, t >> 8 & 0xFF, t & 0xFF], axis=1).astype(np.uint8).tobytes())
