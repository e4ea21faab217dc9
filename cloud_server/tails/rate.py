"""The tail of the `rate` execution: for each frame it computes once, on the mean of the sample's frames so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cloud_server.tails.base import StepOutput, softmax
from cloud_server.tails.frame_sums import FrameSumSlots, Sums
from shared.bundle import Bundle
from shared.spike_codec import Spikes


class RateNetwork(Protocol):
    """Decoder, tail and readout of a bundle, loaded into the library that runs them."""

    def use_threads(self, threads: int) -> None:
        """Run on this many CPU threads; see `Tail.use_threads`."""

    def logits(self, sums: Sums, timesteps: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The logits [B, classes] of sums of frames [B, C', H', W'], each of as many frames as `timesteps` [B] says."""


class RateTail:
    """A `Tail` whose state is the sum of each sample's frames.

    Args:
        bundle: opened in the `rate` execution.
        network: the bundle's network.
    """

    def __init__(self, bundle: Bundle, network: RateNetwork) -> None:
        self._shape = bundle.manifest.frame_shape
        self._temperature = np.float32(bundle.settings.temperature)
        self._network = network

    def slots(self, count: int) -> FrameSumSlots:
        return FrameSumSlots(self._shape, count)

    def use_threads(self, threads: int) -> None:
        self._network.use_threads(threads)

    def step(self, frames: Sequence[Spikes], timesteps: Sequence[int], state: Sums) -> StepOutput[Sums]:
        state += np.stack(frames)
        logits = self._network.logits(state, np.array(timesteps, np.uint8))
        return StepOutput(state, softmax(logits / self._temperature))
