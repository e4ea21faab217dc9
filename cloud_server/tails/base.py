"""What a tail is: one bundle's cloud half, stepped for a batch of samples that may be at different timesteps.

A tail keeps nothing of a sample; its `Slots` do. Neither torch nor onnxruntime is needed to say so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.spike_codec import Spikes

State = TypeVar("State")

Confidences = NDArray[np.float32]
"""[B, classes], each row sums to 1."""


@dataclass(frozen=True)
class StepOutput(Generic[State]):
    """The result of a step before anything is committed: the state of the batch, and its confidences."""

    state: State
    confidences: Confidences


class Slots(ABC, Generic[State]):
    """The state of all samples in flight of one bundle: a row is one sample's slot.

    `allocate` and `free` hand rows out and are called by the thread that serves the streams; everything else touches
    the state and belongs to the engine's thread. A row may be given to a new sample while a batch that holds its former
    owner still runs: the engine runs one batch after the other and resets a row in the batch that brings a sample's
    first frame, so what the former owner leaves in it is never seen.

    Attributes:
        count: rows.
        steps: how many timesteps of its owner are committed in each row; the engine's as well.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.steps = [0] * count
        self._free = list(range(count - 1, -1, -1))

    @property
    def in_use(self) -> int:
        """Rows that are handed out."""
        return self.count - len(self._free)

    def allocate(self) -> int | None:
        """A row for a new sample, or None when all are in use."""
        return self._free.pop() if self._free else None

    def free(self, row: int) -> None:
        """Take a row back. Rows that were freed last are handed out first: their memory is warm."""
        self._free.append(row)

    @property
    @abstractmethod
    def bytes_per_row(self) -> int:
        """What one slot takes of the device's memory."""

    @abstractmethod
    def reset(self, rows: Sequence[int]) -> None:
        """Put rows into the state before the first timestep."""

    @abstractmethod
    def fresh(self, batch: int) -> State:
        """The state of `batch` samples before their first timestep, in no slot; a step may overwrite it."""

    @abstractmethod
    def gather(self, rows: Sequence[int]) -> State:
        """A copy of the state of `rows`, in their order; a step may overwrite it, as the next call does."""

    @abstractmethod
    def scatter(self, rows: Sequence[int], state: State) -> None:
        """Commit the state of `rows` after one more timestep.

        Raises:
            ValueError: it does not fit; nothing was changed.
        """


class Tail(Protocol):
    """The cloud half of a bundle, loaded. Belongs to the engine's thread."""

    def slots(self, count: int) -> Slots[Any]:
        """State for `count` samples in flight."""

    def use_threads(self, threads: int) -> None:
        """Run steps on so many CPU threads; called in the thread that steps."""

    def step(self, frames: Sequence[Spikes], timesteps: Sequence[int], state: Any) -> StepOutput[Any]:
        """One timestep of each sample.

        Args:
            frames: decoded spikes [C, H, W], one frame for each sample.
            timesteps: which timestep, 1..T, each frame is.
            state: of the samples before it, from this tail's slots; it may be overwritten.
        """


def buckets(max_batch: int) -> tuple[int, ...]:
    """The batch sizes that are made ready beforehand: powers of two, and `max_batch` itself."""
    sizes = [1]
    while sizes[-1] * 2 < max_batch:
        sizes.append(sizes[-1] * 2)
    return (*sizes, max_batch) if max_batch > 1 else (1,)
