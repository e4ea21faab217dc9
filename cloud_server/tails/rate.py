"""The tail of the `rate` execution: it computes once for a frame, on the mean of the sample's frames so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cloud_server.tails.base import Confidences, StepOutput
from cloud_server.tails.frame_sums import FrameSums, Sums
from shared.bundle import Bundle
from shared.spike_codec import Spikes


class RateNetwork(Protocol):
    """Decoder, tail and readout in whatever runs them."""

    def use_threads(self, threads: int) -> None:
        """See `Tail`."""

    def logits(self, sums: Sums, timesteps: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Sums of frames [B, C', H', W'] after `timesteps` [B] of them, to logits [B, classes]."""


class RateTail:
    """A `Tail` whose samples are sums of frames.

    Args:
        bundle: in the `rate` execution.
        network: of the bundle, loaded.
    """

    def __init__(self, bundle: Bundle, network: RateNetwork) -> None:
        self._shape = bundle.manifest.frame_shape
        self._temperature = np.float32(bundle.settings.temperature)
        self._network = network

    def slots(self, count: int) -> FrameSums:
        return FrameSums(self._shape, count)

    def use_threads(self, threads: int) -> None:
        self._network.use_threads(threads)

    def step(self, frames: Sequence[Spikes], timesteps: Sequence[int], state: Sums) -> StepOutput[Sums]:
        state += np.stack(frames)
        logits = self._network.logits(state, np.array(timesteps, np.uint8))
        return StepOutput(state, softmax(logits / self._temperature))


def softmax(logits: NDArray[np.float32]) -> Confidences:
    """Over the last axis, in float32."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    out: Confidences = shares / shares.sum(axis=-1, keepdims=True)
    return out
