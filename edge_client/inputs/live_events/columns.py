"""Events as four arrays: what a source of live events gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EventColumns:
    """Events [n] in the order in which they came: column, row, ON, and the sender's time in us.

    `t` is None where the sender says no times: the events are then as old as their arrival.
    """

    x: NDArray[np.integer]
    y: NDArray[np.integer]
    polarity: NDArray[np.bool_]
    t: NDArray[np.integer] | None

    def __len__(self) -> int:
        return len(self.x)
