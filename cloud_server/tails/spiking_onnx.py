"""The tail of the `spiking` execution by onnxruntime on the CPU, without torch.

One call steps a batch. An answer has the same bits in any batch and on any number of threads: onnxruntime computes each
sample of a batch by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cloud_server.tails.base import StepOutput, softmax, total_weights
from cloud_server.tails.membrane_arrays import MembraneArraySlots, SpikingArrays
from shared.bundle import Bundle
from shared.onnx_session import open_session
from shared.spike_codec import Spikes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxSpikingTail:
    """A `Tail` that is the bundle's graph `tail-step` with the weights of its tail.

    Args:
        bundle: opened in the `spiking` execution.

    Raises:
        BundleError: the graph or the weights are missing, damaged, or do not fit each other.
        ConfigError: onnxruntime is not installed, or the bundle has no such graph.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        network, settings = bundle.manifest.network, bundle.settings
        self._classes, self._initial = network.classes, network.neuron.initial_membrane
        self._leak = np.float32(settings.readout_leak)
        weights = np.array(total_weights(settings.readout_leak, network.timesteps), np.float32)
        self._divisors = weights * np.float32(settings.temperature)
        self._use(1)

    def _use(self, threads: int) -> None:
        self._threads = threads
        self._session: InferenceSession = open_session(self._bundle, "tail-step", threads, self._bundle.weights("tail"))
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value.name for value in self._session.get_outputs()]
        self._shapes = [tuple(value.shape[1:]) for value in self._session.get_inputs()[1:]]

    def slots(self, count: int) -> MembraneArraySlots:
        return MembraneArraySlots(self._shapes, self._classes, self._initial, count)

    def use_threads(self, threads: int) -> None:
        if threads != self._threads:
            self._use(threads)

    def step(
        self, frames: Sequence[Spikes], timesteps: Sequence[int], state: SpikingArrays
    ) -> StepOutput[SpikingArrays]:
        feeds = dict(zip(self._inputs, (np.stack(frames), *state.membranes), strict=True))
        logits, *membranes = self._session.run(self._outputs, feeds)
        total = state.logits * self._leak + logits
        divisors = self._divisors[np.array(timesteps) - 1, np.newaxis]
        return StepOutput(SpikingArrays(tuple(membranes), total), softmax(total / divisors))
