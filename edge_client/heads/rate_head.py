"""The head of the `rate` execution: it runs once for a picture, and only the encoder's neurons step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge_client.heads.base import InputArray
from edge_client.heads.embedding import Embedding
from shared.manifest import Manifest
from shared.network_spec import NeuronSpec
from shared.spike_codec import Spikes

Currents = NDArray[np.float32]
"""[C', H', W'], of the encoder's neurons."""


class RateHead:
    """A `Head` whose layers have no memory, with neurons in numpy behind them.

    Args:
        manifest: of the bundle.
        currents: runs the layers. It takes a normalised input, float32 [1, C, H, W], and returns the neurons' currents.
    """

    def __init__(self, manifest: Manifest, currents: Callable[[NDArray[np.float32]], Currents]) -> None:
        self._neuron = manifest.network.neuron
        self._embedding = Embedding(manifest, currents)

    def start(self, pixels: InputArray) -> RateRun:
        """Run the layers for a picture; event frames are run when they are due."""
        return RateRun(self._neuron, self._embedding.currents(pixels))


class RateRun:
    """One sample in a `RateHead`."""

    def __init__(self, neuron: NeuronSpec, currents: Iterator[Currents]) -> None:
        self._currents = currents
        self._threshold = np.float32(neuron.threshold)
        self._membrane: Currents | np.float32 = np.float32(neuron.initial_membrane)

    def step(self) -> Spikes:
        """The spikes [C', H', W'] of the next timestep.

        The recurrence of shared/models/neuron.py without a leak: the reset is that of the membrane as it was.
        """
        reset = np.where(self._membrane > self._threshold, self._threshold, np.float32(0.0))
        self._membrane = self._membrane + next(self._currents) - reset
        return (self._membrane > self._threshold).astype(np.uint8)
