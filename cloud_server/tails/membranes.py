"""The slots of the `spiking` execution: the membranes of every layer and the sum of the logits, in one torch buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from cloud_server.tails.base import Slots
from shared.models.layers import State
from shared.models.split import CloudNetwork

ALIGNED = 16
"""Each part of a row begins at a multiple of 16 numbers (64 bytes), where vector instructions are fast."""


@dataclass(frozen=True)
class SpikingState:
    """The state of a batch in the `spiking` execution.

    Membranes and logits are views of `block`, so that one copy gathers or scatters all of them.

    Attributes:
        membranes: [B, C, H, W] of every neuron layer.
        logits: [B, classes], the sum of the logits so far.
        block: [B, numbers of a row], the memory of both.
    """

    membranes: State
    logits: Tensor
    block: Tensor


class MembraneSlots(Slots[SpikingState]):
    """`count` rows of state for one network.

    Args:
        network: whose state it is.
        count: number of rows.
        device, dtype: of the buffer.
    """

    def __init__(self, network: CloudNetwork, count: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(count)
        self._device = device
        membranes = network.initial_state(1, device=device, dtype=dtype)
        # A row holds [H, W, C], the order in which a channels-last tensor lies in memory.
        self._shapes = [tuple(membrane.permute(0, 2, 3, 1).shape[1:]) for membrane in membranes]
        self._classes = network.spec.classes
        self._width = sum(_aligned(prod(shape)) for shape in (*self._shapes, (self._classes,)))
        self._initial = torch.zeros((1, self._width), device=device, dtype=dtype)
        for kept, membrane in zip(self._views(self._initial).membranes, membranes, strict=True):
            kept.copy_(membrane)
        # empty, not zeros: memory that no sample has used yet is never touched and so costs nothing
        self._buffer = torch.empty((count, self._width), device=device, dtype=dtype)
        self._gathered = torch.empty((0, self._width), device=device, dtype=dtype)
        """The memory that batches are gathered into, as large as the largest batch so far."""

    @property
    def bytes_per_row(self) -> int:
        return self._width * self._buffer.element_size()

    def fresh(self, batch: int) -> SpikingState:
        return self._views(self._initial.repeat(batch, 1))

    def gather(self, rows: Sequence[int]) -> SpikingState:
        if len(rows) > len(self._gathered):
            self._gathered = self._buffer.new_empty((len(rows), self._width))
        block = self._gathered[: len(rows)]
        torch.index_select(self._buffer, 0, self._index(rows), out=block)
        return self._views(block)

    def reset(self, rows: Sequence[int]) -> None:
        self._buffer[self._index(rows)] = self._initial

    def scatter(self, rows: Sequence[int], state: SpikingState) -> None:
        if state.block.shape != (len(rows), self._width):
            raise ValueError(f"a state {tuple(state.block.shape)} does not fit {len(rows)} rows of {self._width}")
        self._buffer.index_copy_(0, self._index(rows), state.block)

    def _views(self, block: Tensor) -> SpikingState:
        """The parts of a block."""
        batch, start, membranes = len(block), 0, []
        for shape in self._shapes:
            part = block[:, start : start + prod(shape)]
            membranes.append(part.view(batch, *shape).permute(0, 3, 1, 2))
            start += _aligned(prod(shape))
        return SpikingState(tuple(membranes), block[:, start : start + self._classes], block)

    def _index(self, rows: Sequence[int]) -> Tensor:
        return torch.tensor(rows, dtype=torch.int64, device=self._device)


def _aligned(numbers: int) -> int:
    return -(-numbers // ALIGNED) * ALIGNED
