"""What load generators send, ready to be sent. Apart from `frames`, so that they need not import torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.messages import StepResult
from shared.wire import cloud_to_wire


@dataclass(frozen=True)
class LoadSamples:
    """Messages of an edge, as bytes; a picture's sample number is its position.

    Attributes:
        open: the first message of a stream.
        frames: those of each picture, [picture][timestep].
        stops: the Stop of each picture.
        classes: of the bundle.
        spikes: the same frames not encoded, uint8 [picture, T, C, H, W].
    """

    open: bytes
    frames: tuple[tuple[bytes, ...], ...]
    stops: tuple[bytes, ...]
    classes: int
    spikes: NDArray[np.uint8]

    @property
    def typical_frame(self) -> bytes:
        """The message of median length."""
        every = sorted((raw for picture in self.frames for raw in picture), key=len)
        return every[len(every) // 2]

    def typical_answer(self) -> bytes:
        """A step result to it, as long as a real one."""
        confidences = tuple(np.full(self.classes, 1 / self.classes, np.float32).tolist())
        return cloud_to_wire(StepResult(1, 2, confidences, (), 300, 5_000, 1)).SerializeToString()
