"""The network in its `rate` execution: mean spike counts replace spikes, except in the encoder's neurons.

An integrate-and-fire neuron that sees a constant current x over L timesteps, its membrane starting at half the
threshold, fires clip(floor(x L / threshold + 1/2), 0, L) times (Bu et al., "Optimal ANN-SNN Conversion for
High-accuracy and Ultra-low-latency Spiking Neural Networks", ICLR 2022). A layer whose neurons answer with that count
over L at once needs no memory and no timesteps. The cloud keeps only the sum of a sample's frames of 0 and 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shared.errors import SpecError
from shared.execution import why_not_rate
from shared.models.inference import in_place_recurrence, inference_form
from shared.models.layers import SpikingConv
from shared.models.neuron import Neuron, Recurrence
from shared.models.split import CloudNetwork, EdgeNetwork
from shared.network_spec import NetworkSpec, NeuronSpec


def mean_count(levels: int) -> Recurrence:
    """Replaces a neuron by its mean spike count over `levels` timesteps of the current. No gradient.

    Currents [T, B, C, H, W] of any memory format -> values 0, 1/levels, ... 1 of the same shape; the membrane passes
    through.
    """

    def recurrence(currents: Tensor, membrane: Tensor, spec: NeuronSpec) -> tuple[Tensor, Tensor]:
        counts = currents.mul(levels / spec.threshold).add_(0.5).floor_().clamp_(0.0, float(levels))
        return counts.div_(levels), membrane

    return recurrence


class RateEdge(nn.Module):
    """Head and encoder: from a picture, or a frame of events, to the current of the encoder's neurons.

    Args:
        edge: of any form; it is copied.
        levels: of the head's activations.

    Raises:
        SpecError: the network has no such execution.
    """

    def __init__(self, edge: EdgeNetwork, levels: int) -> None:
        super().__init__()
        _check(edge.spec)
        self.network = inference_form(edge)
        _set_recurrence(self.network.head, mean_count(levels))
        assert isinstance(self.network.encoder, SpikingConv)
        self._current = self.network.encoder.current
        self.out_shape = self.network.out_shape

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalised inputs [B, C, H, W] -> currents of the encoder's neurons [B, C', H', W']."""
        edge = self.network
        features, _ = edge.head(edge.embed(inputs.unsqueeze(0)), edge.head.initial_state(len(inputs)))
        current: Tensor = self._current(features[0])
        return current


class EncoderNeurons:
    """The encoder's integrate-and-fire neurons, which emit the frames of the `rate` execution.

    Args:
        edge: whose neurons they are.
    """

    def __init__(self, edge: EdgeNetwork) -> None:
        self._timesteps = edge.spec.timesteps
        self._spec = edge.encoder.neurons[-1].spec

    def frames(self, currents: Tensor) -> Tensor:
        """The frames of T timesteps.

        Args:
            currents: [B, C', H', W'] of a picture, or [T, B, C', H', W'] of event frames.

        Returns:
            Zeros and ones, [T, B, C', H', W'].
        """
        if currents.dim() == 4:
            currents = currents.expand(self._timesteps, *currents.shape)
        membrane = torch.full_like(currents[0], self._spec.initial_membrane)
        spikes, _ = in_place_recurrence(currents, membrane, self._spec)
        return spikes


class RateCloud(nn.Module):
    """Decoder, tail and readout on the mean of a sample's frames.

    Args:
        cloud: of any form; it is copied.
        levels: of the activations.
        dtype: of convolutions and activations; the readout stays float32.
    """

    def __init__(self, cloud: CloudNetwork, levels: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        _check(cloud.spec)
        self.network = inference_form(cloud, dtype)
        self.dtype = dtype
        _set_recurrence(self.network, mean_count(levels))

    def forward(self, sums: Tensor, timesteps: Tensor) -> Tensor:
        """Sums of frames [B, C', H', W'] after `timesteps` [B] of them -> logits float32 [B, classes]."""
        means = (sums.float() / timesteps.float().view(-1, 1, 1, 1)).to(self.dtype)
        inputs = means.contiguous(memory_format=torch.channels_last).unsqueeze(0)
        logits, _ = self.network(inputs, self.network.initial_state(len(sums), device=sums.device))
        out: Tensor = logits[0]
        return out


def _check(spec: NetworkSpec) -> None:
    if reason := why_not_rate(spec):
        raise SpecError(f"this network has no execution 'rate': {reason}")


def _set_recurrence(network: nn.Module, recurrence: Recurrence) -> None:
    for module in network.modules():
        if isinstance(module, Neuron):
            module.recurrence = recurrence
