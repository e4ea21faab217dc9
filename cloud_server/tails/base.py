"""What a tail is: the cloud half of a bundle, stepped for a batch of samples that may be at different timesteps.

A tail keeps no state of a sample; its `Slots` do. This file needs neither torch nor onnxruntime.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.spike_codec import CodecContext, Spikes

S = TypeVar("S")
"""The state of a batch of samples."""

Confidences = NDArray[np.float32]
"""[B, classes], each row sums to 1."""


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
        steps: for each row, how many timesteps of its owner are committed.
        contexts: for each row, the codec's context of its owner's next frame; None before the first one is committed.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.steps = [0] * count
        self.contexts: list[CodecContext | None] = [None] * count
        self._free = list(range(count - 1, -1, -1))

    @property
    def in_use(self) -> int:
        """How many rows belong to a sample."""
        return self.count - len(self._free)

    def allocate(self) -> int | None:
        """A row for a new sample; None if all are in use."""
        return self._free.pop() if self._free else None

    def free(self, row: int) -> None:
        """Take a row back. The row that was freed last is used first, because its memory is still in the cache."""
        self._free.append(row)

    def reset(self, rows: Sequence[int]) -> None:
        """Put rows into the state before the first timestep."""
        self._reset_state(rows)
        for row in rows:
            self.steps[row] = 0
            self.contexts[row] = None

    def scatter(self, rows: Sequence[int], state: S, contexts: Sequence[CodecContext]) -> None:
        """Commit one more timestep of each row.

        Args:
            rows: distinct rows.
            state: the state of their samples, in the same order.
            contexts: the codec's contexts of the samples' next frames, in the same order.

        Raises:
            ValueError: the state does not fit the rows; nothing was changed.
        """
        self._scatter_state(rows, state)
        for row, context in zip(rows, contexts, strict=True):
            self.steps[row] += 1
            self.contexts[row] = context

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
    def _reset_state(self, rows: Sequence[int]) -> None:
        """The state's part of `reset`."""

    @abstractmethod
    def _scatter_state(self, rows: Sequence[int], state: S) -> None:
        """The state's part of `scatter`; raises ValueError, before any change, if the state does not fit."""


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
