"""The slots of the `spiking` execution without torch: for each layer of neurons an array with a row for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloud_server.tails.base import Slots
from shared.network_spec import Shape

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SpikingArrays:
    """The state of a batch.

    Attributes:
        membranes: [B, C, H, W] of every layer of neurons.
        logits: [B, classes], the sum of the logits so far.
    """

    membranes: tuple[Floats, ...]
    logits: Floats


class MembraneArraySlots(Slots[SpikingArrays]):
    """`count` rows of state.

    Args:
        shapes: of the membranes of one sample.
        classes: of the readout.
        initial: membrane before the first timestep.
        count: number of rows.
    """

    def __init__(self, shapes: Sequence[Shape], classes: int, initial: float, count: int) -> None:
        super().__init__(count)
        self._shapes = ((classes,), *shapes)
        self._initial = (0.0, *[initial] * len(shapes))
        # empty, not zeros: memory that no sample has used yet is never touched and so costs nothing
        self._rows: list[Floats] = [np.empty((count, *shape), np.float32) for shape in self._shapes]
        self._gathered: list[Floats] = [rows[:0] for rows in self._rows]
        """The memory that batches are gathered into, as large as the largest batch so far."""

    @property
    def bytes_per_row(self) -> int:
        return sum(int(rows[0].nbytes) for rows in self._rows)

    def fresh(self, batch: int) -> SpikingArrays:
        parts = zip(self._shapes, self._initial, strict=True)
        return _state([np.full((batch, *shape), value, np.float32) for shape, value in parts])

    def gather(self, rows: Sequence[int]) -> SpikingArrays:
        count, index = len(rows), np.array(rows, np.intp)
        if count > len(self._gathered[0]):
            self._gathered = [np.empty((count, *shape), np.float32) for shape in self._shapes]
        parts = [memory[:count] for memory in self._gathered]
        for kept, part in zip(self._rows, parts, strict=True):
            kept.take(index, axis=0, out=part, mode="clip")  # the other modes copy by way of a buffer
        return _state(parts)

    def reset(self, rows: Sequence[int]) -> None:
        index = np.array(rows, np.intp)
        for kept, value in zip(self._rows, self._initial, strict=True):
            kept[index] = value

    def scatter(self, rows: Sequence[int], state: SpikingArrays) -> None:
        parts = (state.logits, *state.membranes)
        for part, shape in zip(parts, self._shapes, strict=True):
            if part.shape != (len(rows), *shape):
                raise ValueError(f"a state {part.shape} does not fit {len(rows)} rows of {shape}")
        index = np.array(rows, np.intp)
        for kept, part in zip(self._rows, parts, strict=True):
            kept[index] = part


def _state(parts: Sequence[Floats]) -> SpikingArrays:
    logits, *membranes = parts
    return SpikingArrays(tuple(membranes), logits)
