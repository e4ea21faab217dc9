"""The interface of a head: it takes a sample's pixels and returns the spikes of each timestep, as numpy arrays."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.manifest import Normalisation
from shared.spike_codec import Spikes

InputArray = NDArray[np.uint8]
"""A picture [C, H, W], or event frames [T, C, H, W]."""


class HeadRun(Protocol):
    """One sample in a head. Only this object has the sample's membranes."""

    def step(self) -> Spikes:
        """The spikes [C', H', W'] of the next timestep, zeros and ones. At most T times."""


class Head(Protocol):
    """A loaded head. Any number of samples may run at once, each with its own state."""

    def start(self, pixels: InputArray) -> HeadRun:
        """Start a sample: its state before the first timestep."""


def normalise(pixels: InputArray, normalisation: Normalisation) -> NDArray[np.float32]:
    """Return (pixel * scale - mean) / std as float32 of the same shape; channels are the third axis from the end."""
    mean = np.array(normalisation.mean, np.float32)[:, np.newaxis, np.newaxis]
    std = np.array(normalisation.std, np.float32)[:, np.newaxis, np.newaxis]
    scaled = pixels.astype(np.float32) * np.float32(normalisation.scale)
    return ((scaled - mean) / std).astype(np.float32, copy=False)
