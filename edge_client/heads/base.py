"""The interface of a head: it takes a sample's pixels and returns the spikes of each timestep, as numpy arrays."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
