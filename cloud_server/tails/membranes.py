"""The slots of the `spiking` execution: membranes of every layer and the sum of the logits, in one buffer of torch."""

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
"""Numbers: each part of a row begins at a multiple of them, 64 bytes, as vector instructions like it."""


@dataclass(frozen=True)
class Rows:
    """The state of a batch: membranes [B, C, H, W] of every neuron layer, and the sum of the logits so far.

    They are views of `block`, a row for each sample: all of it is gathered and scattered at once.
    """

    membranes: State
    logits: Tensor
    """[B, classes]"""
    block: Tensor
    """[B, numbers of a row]"""


class Membranes(Slots[Rows]):
    """`count` rows of state for one network."""

    def __init__(self, network: CloudNetwork, count: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(count)
        self._device = device
        membranes = network.initial_state(1, device=device, dtype=dtype)
        # Rows are kept as [H, W, C]: a channels-last tensor's own order in memory.
        self._shapes = [tuple(membrane.permute(0, 2, 3, 1).shape[1:]) for membrane in membranes]
        self._classes = network.spec.classes
        self._width = sum(_aligned(prod(shape)) for shape in (*self._shapes, (self._classes,)))
        self._initial = torch.zeros((1, self._width), device=device, dtype=dtype)
        for kept, membrane in zip(self._rows(self._initial).membranes, membranes, strict=True):
            kept.copy_(membrane)
        # empty, not zeros: a page of memory that no sample has used yet costs nothing
        self._buffer = torch.empty((count, self._width), device=device, dtype=dtype)
        self._gathered = torch.empty((0, self._width), device=device, dtype=dtype)
        """What batches are gathered into, as large as the largest so far."""

    @property
    def bytes_per_row(self) -> int:
        return self._width * self._buffer.element_size()

    def reset(self, rows: Sequence[int]) -> None:
        if not rows:
            return
        self._buffer[self._index(rows)] = self._initial
        for row in rows:
            self.steps[row] = 0

    def fresh(self, batch: int) -> Rows:
        return self._rows(self._initial.repeat(batch, 1))

    def gather(self, rows: Sequence[int]) -> Rows:
        if len(rows) > len(self._gathered):
            self._gathered = self._buffer.new_empty((len(rows), self._width))
        block = self._gathered[: len(rows)]
        torch.index_select(self._buffer, 0, self._index(rows), out=block)
        return self._rows(block)

    def scatter(self, rows: Sequence[int], state: Rows) -> None:
        if state.block.shape != (len(rows), self._width):
            raise ValueError(f"a state {tuple(state.block.shape)} does not fit {len(rows)} rows of {self._width}")
        self._buffer.index_copy_(0, self._index(rows), state.block)
        for row in rows:
            self.steps[row] += 1

    def _rows(self, block: Tensor) -> Rows:
        """What the numbers of a block mean."""
        batch, start, membranes = len(block), 0, []
        for shape in self._shapes:
            part = block[:, start : start + prod(shape)]
            membranes.append(part.view(batch, *shape).permute(0, 3, 1, 2))
            start += _aligned(prod(shape))
        return Rows(tuple(membranes), block[:, start : start + self._classes], block)

    def _index(self, rows: Sequence[int]) -> Tensor:
        return torch.tensor(rows, dtype=torch.int64, device=self._device)


def _aligned(numbers: int) -> int:
    return -(-numbers // ALIGNED) * ALIGNED
