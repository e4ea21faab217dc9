"""The state of all samples in flight of one bundle, preallocated: a row of every buffer is one sample's slot.

`allocate` and `free` hand rows out and are called by the thread that serves the streams; everything else touches the
tensors and belongs to the engine's thread. A row may be given to a new sample while a batch that holds its former owner
still runs: the engine runs one batch after the other and resets a row in the batch that brings a sample's first frame,
so what the former owner leaves in it is never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared.models.layers import State
from shared.models.split import CloudNetwork


@dataclass(frozen=True)
class Rows:
    """The state of a batch: membranes [B, C, H, W] of every neuron layer, and the sum of the logits so far."""

    membranes: State
    logits: Tensor
    """[B, classes]"""


class StateSlots:
    """`count` rows of state for one network.

    `steps[row]` is how many timesteps of its owner are committed in the row; it is the engine's as well.
    """

    def __init__(self, network: CloudNetwork, count: int, device: torch.device, dtype: torch.dtype) -> None:
        self.count = count
        self.steps = [0] * count
        self._free = list(range(count - 1, -1, -1))
        initial = network.initial_state(1, device=device, dtype=dtype)
        self._initial = tuple(_rows_last(membrane) for membrane in initial)
        # empty, not zeros: a page of memory that no sample has used yet costs nothing
        self._membranes = tuple(
            torch.empty((count, *membrane.shape[1:]), device=device, dtype=dtype) for membrane in self._initial
        )
        self._logits = torch.empty((count, network.spec.classes), device=device, dtype=torch.float32)

    @property
    def in_use(self) -> int:
        """Rows that are handed out."""
        return self.count - len(self._free)

    @property
    def bytes_per_row(self) -> int:
        """What one slot takes of the device's memory."""
        buffers = (*self._membranes, self._logits)
        return sum(buffer[0].numel() * buffer.element_size() for buffer in buffers)

    def allocate(self) -> int | None:
        """A row for a new sample, or None when all are in use."""
        return self._free.pop() if self._free else None

    def free(self, row: int) -> None:
        """Take a row back. Rows that were freed last are handed out first: their memory is warm."""
        self._free.append(row)

    def reset(self, rows: Sequence[int]) -> None:
        """Put rows into the state before the first timestep."""
        if not rows:
            return
        index = self._index(rows)
        for buffer, initial in zip(self._membranes, self._initial, strict=True):
            buffer[index] = initial
        self._logits[index] = 0.0
        for row in rows:
            self.steps[row] = 0

    def fresh(self, batch: int) -> Rows:
        """The state of `batch` samples before their first timestep, in no slot; whoever gets it may overwrite it."""
        membranes = tuple(
            _channels_second(membrane.expand(batch, *membrane.shape[1:]).clone(memory_format=torch.contiguous_format))
            for membrane in self._initial
        )
        return Rows(membranes, torch.zeros_like(self._logits[:1]).expand(batch, -1).clone())

    def gather(self, rows: Sequence[int]) -> Rows:
        """A copy of the state of `rows`, in their order; whoever gets it may overwrite it."""
        index = self._index(rows)
        membranes = tuple(_channels_second(buffer.index_select(0, index)) for buffer in self._membranes)
        return Rows(membranes, self._logits.index_select(0, index))

    def scatter(self, rows: Sequence[int], state: Rows) -> None:
        """Commit the state of `rows` after one more timestep.

        Raises:
            ValueError: it does not fit; nothing was changed.
        """
        parts = [*(_rows_last(membrane) for membrane in state.membranes), state.logits]
        buffers = [*self._membranes, self._logits]
        fits = len(parts) == len(buffers) and all(
            part.shape == (len(rows), *buffer.shape[1:]) for part, buffer in zip(parts, buffers, strict=True)
        )
        if not fits:
            raise ValueError(f"the state does not fit {len(rows)} rows of {[tuple(b.shape[1:]) for b in buffers]}")
        index = self._index(rows)
        for buffer, part in zip(buffers, parts, strict=True):
            buffer.index_copy_(0, index, part)
        for row in rows:
            self.steps[row] += 1

    def _index(self, rows: Sequence[int]) -> Tensor:
        return torch.tensor(rows, dtype=torch.int64, device=self._logits.device)


def _rows_last(membrane: Tensor) -> Tensor:
    """[B, C, H, W] as the rows are kept, [B, H, W, C]: a channels-last tensor's own order in memory."""
    return membrane.permute(0, 2, 3, 1)


def _channels_second(rows: Tensor) -> Tensor:
    """A kept row back to [B, C, H, W], without a copy."""
    return rows.permute(0, 3, 1, 2)
