"""The slots of the `rate` execution: each holds the sum of the sample's frames, on which alone its answer depends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_server.tails.base import Slots
from shared.network_spec import Shape

Sums = NDArray[np.uint8]
"""[B, C', H', W'], how often each neuron has fired."""


class FrameSumSlots(Slots[Sums]):
    """`count` rows with sums of frames [C', H', W']."""

    def __init__(self, shape: Shape, count: int) -> None:
        super().__init__(count)
        # empty, not zeros: memory that no sample has used yet is never touched and so costs nothing
        self._sums: Sums = np.empty((count, *shape), np.uint8)

    @property
    def bytes_per_row(self) -> int:
        return int(self._sums[0].nbytes)

    def fresh(self, batch: int) -> Sums:
        return np.zeros((batch, *self._sums.shape[1:]), np.uint8)

    def gather(self, rows: Sequence[int]) -> Sums:
        return self._sums[list(rows)]

    def reset(self, rows: Sequence[int]) -> None:
        self._sums[list(rows)] = 0

    def scatter(self, rows: Sequence[int], state: Sums) -> None:
        expected = (len(rows), *self._sums.shape[1:])
        if state.shape != expected:
            raise ValueError(f"sums of shape {state.shape} do not fit {len(rows)} rows: {expected} is expected")
        self._sums[list(rows)] = state
