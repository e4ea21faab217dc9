"""snnTorch's own neuron in one of our networks: what a snnTorch user would run, for comparisons."""

from __future__ import annotations

from torch import Tensor

from shared.models.neuron import Neuron
from shared.network_spec import NeuronSpec


class Leaky:
    """A `Recurrence` that calls `snn.Leaky`, one timestep at a time."""

    def __init__(self, neuron: Neuron) -> None:
        self._leaky = neuron.as_snntorch()

    def __call__(self, currents: Tensor, membrane: Tensor, _: NeuronSpec) -> tuple[Tensor, Tensor]:
        spikes, membrane = self._leaky(currents[0], membrane)
        return spikes.unsqueeze(0), membrane
