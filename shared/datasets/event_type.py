"""What an event is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("polarity", "?"), ("t", "<i8")])
"""One event: column, row (0 at the top), ON (True) or OFF, time in microseconds."""

Events = NDArray[np.void]
"""A structured array [n] of `EVENT`, ordered by time."""

Sensor = tuple[int, int]
"""(height, width) of a camera in pixels."""

BLOCK = 1 << 18
"""Events that are worked on at a time: what is computed between takes memory for so many, not for a whole recording."""
