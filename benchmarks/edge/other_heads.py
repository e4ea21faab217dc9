"""Heads that no edge runs, for comparison: plain snnTorch, and our form under torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class OtherHead:
    """A head of a torch network, whose `step` may be a compiled one."""

    def __init__(self, bundle: Bundle, network: EdgeNetwork, step: Callable[..., Any]) -> None:
        self._network = network
        self._embedding = Embedding(bundle.manifest, self._embed)
        self._step = step

    def start(self, pixels: InputArray) -> OtherRun:
        """Embed a picture; event frames are embedded when they are due."""
        with torch.inference_mode():
            state = tuple(membrane.contiguous() for membrane in self._network.initial_state(1))
        return OtherRun(self._embedding.currents(pixels), self._step, state)

    def _embed(self, frame: NDArray[np.float32]) -> Tensor:
        with torch.inference_mode():
            return self._network.embed(torch.from_numpy(frame).unsqueeze(0))[0]


class OtherRun:
    """One sample in an `OtherHead`."""

    def __init__(self, currents: Iterator[Tensor], step: Callable[..., Any], state: Any) -> None:
        self._currents = currents
        self._step = step
        self._state = state

    def step(self) -> Spikes:
        """The spikes of the next timestep."""
        with torch.inference_mode():
            spikes, self._state = self._step(next(self._currents), self._state)
            out: Spikes = spikes[0].numpy().astype(np.uint8)
        return out


def plain_snntorch(bundle: Bundle) -> OtherHead:
    """The modules as they were trained, `snn.Leaky` in each neuron's place, no fusing, the default memory layout."""
    network = load_edge(bundle)
    for neuron in network.neurons:
        neuron.recurrence = Leaky(neuron)
    return OtherHead(bundle, network, network.step)


def compiled(bundle: Bundle) -> OtherHead:
    """The form for inference under torch.compile, its neurons out of place so that all of it can be fused."""
    network = inference_form(load_edge(bundle))
    for neuron in network.neurons:
        neuron.recurrence = None
    return OtherHead(bundle, network, torch.compile(network.step, dynamic=False))
