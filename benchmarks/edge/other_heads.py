"""Heads that the edge does not ship, to compare with: snnTorch, torch.compile, OpenVINO. Each has our interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.snntorch_neuron import Leaky
from edge_client.heads.base import InputArray
from edge_client.heads.embedding import Embedding
from shared.bundle import Bundle
from shared.models.inference import inference_form
from shared.models.load import load_edge
from shared.models.split import EdgeNetwork
from shared.spike_codec import Spikes

State = Any
StepFunction = Callable[[Any, State], tuple[Spikes, State]]


class OtherHead:
    """A head from a step function: (current, state) -> (spikes [C', H', W'], state)."""

    def __init__(self, embedding: Embedding[Any], step: StepFunction, initial: Callable[[], State]) -> None:
        self._embedding = embedding
        self._step = step
        self._initial = initial

    def start(self, pixels: InputArray) -> OtherRun:
        """Embed a picture; event frames are embedded when they are due."""
        return OtherRun(self._embedding.of(pixels), self._step, self._initial())


class OtherRun:
    """One sample in an `OtherHead`."""

    def __init__(self, current: Callable[[], Any], step: StepFunction, state: State) -> None:
        self._current = current
        self._step = step
        self._state = state

    def step(self) -> Spikes:
        """The spikes of the next timestep."""
        spikes, self._state = self._step(self._current(), self._state)
        return spikes


def plain_snntorch(bundle: Bundle) -> OtherHead:
    """The modules as they were trained, `snn.Leaky` in each neuron's place, no fusing, the default memory layout."""
    network = load_edge(bundle)
    for neuron in network.neurons:
        neuron.recurrence = Leaky(neuron)
    return _of_torch(bundle, network, network.step)


def compiled(bundle: Bundle) -> OtherHead:
    """The form for inference under torch.compile, its neurons out of place so that all of it can be fused."""
    network = inference_form(load_edge(bundle))
    for neuron in network.neurons:
        neuron.recurrence = None
    return _of_torch(bundle, network, torch.compile(network.step, dynamic=False))


def openvino(bundle: Bundle, threads: int) -> OtherHead:
    """The bundle's step graph run by OpenVINO in float32.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    import openvino as ov  # noqa: PLC0415  the extra `openvino`

    graph = bundle.graph("head-step")
    assert graph is not None
    core = ov.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    model = core.compile_model(core.read_model(graph, b""), "CPU", options)
    request = model.create_infer_request()
    names = [port.any_name for port in model.inputs]
    initial = bundle.manifest.network.neuron.initial_membrane
    network = inference_form(load_edge(bundle))

    def step(current: NDArray[np.float32], state: Sequence[NDArray[np.float32]]) -> tuple[Spikes, State]:
        found = request.infer(dict(zip(names, (current, *state), strict=True)), share_inputs=True)
        spikes, *after = (found[port].copy() for port in model.outputs)
        return spikes[0].astype(np.uint8), after

    def embed(frame: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            current: NDArray[np.float32] = network.embed(torch.from_numpy(frame).unsqueeze(0))[0].contiguous().numpy()
        return current

    return OtherHead(
        Embedding(bundle.manifest, embed),
        step,
        lambda: [np.full(tuple(port.shape), initial, np.float32) for port in model.inputs[1:]],
    )


def _of_torch(bundle: Bundle, network: EdgeNetwork, step: Callable[..., Any]) -> OtherHead:
    def run(current: Tensor, state: State) -> tuple[Spikes, State]:
        with torch.inference_mode():
            spikes, after = step(current, state)
            out: Spikes = spikes[0].numpy().astype(np.uint8)
        return out, after

    def embed(frame: NDArray[np.float32]) -> Tensor:
        with torch.inference_mode():
            return network.embed(torch.from_numpy(frame).unsqueeze(0))[0]

    def initial() -> State:
        with torch.inference_mode():
            return tuple(membrane.contiguous() for membrane in network.initial_state(1))

    return OtherHead(Embedding(bundle.manifest, embed), run, initial)
