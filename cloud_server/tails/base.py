"""What a tail is: the cloud half of a bundle, stepped for a batch of samples that may be at different timesteps.

A tail keeps no state of a sample; its `Slots` do. This file needs neither torch nor onnxruntime.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cloud_server.shares import Shares
from shared.spike_codec import CodecContext, Spikes

S = TypeVar("S")
"""The state of a batch of samples."""

Confidences = NDArray[np.float32]
"""[B, classes], each row sums to 1."""


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """A frame after the codec.

    Attributes:
        timestep: 1..T.
        spikes: uint8 [C, H, W].
        context: what the codec decoded it with; None for a sample's first frame.
    """

    timestep: int
    spikes: Spikes
    context: CodecContext | None


@dataclass(frozen=True)
class StepOutput(Generic[S]):
    """The result of a step, not committed yet: the state of the batch, and its confidences."""

    state: S
    confidences: Confidences


class Slots(ABC, Generic[S]):
    """The state of all samples in flight of one bundle. A row is the slot of one sample.

    The thread that serves the streams calls `allocate` and `free`; everything else belongs to the engine's thread. A
    row may be given to a new sample while a batch with its former owner still runs. That is safe: the engine runs one
    batch after the other, and resets a row in the batch with its new owner's first frame.

    Attributes:
        count: number of rows.
        in_use: how many rows belong to a sample.
        last_frames: for each row, the last frame of its owner that is committed; None before the first one.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.last_frames: list[DecodedFrame | None] = [None] * count
        self._free = list(range(count - 1, -1, -1))
        self._owners: list[Hashable] = [None] * count
        self._shares = Shares(count)
        self.in_use = 0

    def allocate(self, owner: Hashable) -> int | None:
        """A row for a new sample; None if all are in use, or as many as `owner` may have beside the others."""
        if not self._shares.has_room(owner):
            return None
        self._shares.take(owner)
        self.in_use += 1
        row = self._free.pop()
        self._owners[row] = owner
        return row

    def free(self, row: int) -> None:
        """Take a row back. The row that was freed last is used first, because its memory is still in the cache."""
        self._shares.give_back(self._owners[row])
        self.in_use -= 1
        self._free.append(row)

    @property
    @abstractmethod
    def bytes_per_row(self) -> int:
        """Bytes of the device's memory that one slot takes."""

    @abstractmethod
    def fresh(self, batch: int) -> S:
        """The state of `batch` samples before their first timestep, in no slot. A step may overwrite it."""

    @abstractmethod
    def gather(self, rows: Sequence[int]) -> S:
        """A copy of the state of `rows`, in their order. A step may overwrite it, and the next `gather` does."""

    @abstractmethod
    def reset(self, rows: Sequence[int]) -> None:
        """Put rows into the state before the first timestep."""

    @abstractmethod
    def scatter(self, rows: Sequence[int], state: S) -> None:
        """Put the state of a batch into distinct rows, in their order.

        Raises:
            ValueError: the state does not fit the rows; nothing was changed.
        """


class Tail(Protocol):
    """The cloud half of a bundle, loaded. It belongs to the engine's thread."""

    def slots(self, count: int) -> Slots[Any]:
        """Slots for `count` samples in flight."""

    def use_threads(self, threads: int) -> None:
        """Run steps on this many CPU threads. Called in the thread that steps."""

    def step(self, frames: Sequence[Spikes], timesteps: Sequence[int], state: Any) -> StepOutput[Any]:
        """Step each sample by one timestep.

        Args:
            frames: decoded spikes [C, H, W], one frame for each sample.
            timesteps: the timestep, 1..T, of each frame.
            state: of the samples before it, from this tail's slots. It may be overwritten.
        """


def buckets(max_batch: int) -> tuple[int, ...]:
    """The batch sizes that are prepared in advance: powers of two, and `max_batch` itself."""
    sizes = [1]
    while sizes[-1] * 2 < max_batch:
        sizes.append(sizes[-1] * 2)
    return (*sizes, max_batch) if max_batch > 1 else (1,)


def softmax(logits: NDArray[np.float32]) -> Confidences:
    """Softmax over the last axis, in float32."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    confidences: Confidences = shares / shares.sum(axis=-1, keepdims=True)
    return confidences


def total_weights(leak: float, timesteps: int) -> list[float]:
    """1, 1 + leak, 1 + leak + leak^2, ...: the divisors of the readout's sum of logits after timestep 1, 2, 3, ..."""
    weights = [1.0]
    while len(weights) < timesteps:
        weights.append(1.0 + leak * weights[-1])
    return weights
