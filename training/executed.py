"""A network as edge and cloud run it together, in either execution: what training calibrates, measures and exports."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from shared.execution import Execution
from shared.models.inference import inference_form
from shared.models.rate import EncoderNeurons, RateCloud, RateEdge, mean_count
from shared.models.split import CloudNetwork, EdgeNetwork, SplitNetwork
from training.activations import use

LEVELS = 8
"""Levels of the activations of a new bundle, in head and tail (docs/decisions/0016-two-executions.md)."""


class Passes(NamedTuple):
    """How often a half computes for one sample at full T. The first convolution has its own count on the edge."""

    first: int
    edge: int
    cloud: int


class Executed(Protocol):
    """Both halves of a network in one execution, in float32."""

    def frames(self, inputs: Tensor) -> Tensor:
        """Compute the frames that the edge sends.

        Args:
            inputs: normalised, pictures [B, C, H, W] or event frames [T, B, C, H, W].

        Returns:
            Zeros and ones, float32 [T, B, C', H', W'].
        """

    def logits(self, frames: Tensor) -> Tensor:
        """Compute the cloud's logits [T, B, classes] at each timestep from frames [T, B, C', H', W']."""

    def by_layer(self) -> ByLayer:
        """The same execution in torch modules, which hooks can observe."""


class ByLayer(Executed, Protocol):
    """An execution whose layers are modules of torch.

    Attributes:
        halves: the modules that run, for hooks.
        passes: how often each half computes for one sample.
    """

    halves: SplitNetwork
    passes: Passes


class Spiking:
    """The `spiking` execution: every neuron steps."""

    def __init__(self, edge: EdgeNetwork, cloud: CloudNetwork) -> None:
        self._edge, self._cloud = inference_form(edge), inference_form(cloud)
        self.halves = _halves(self._edge, self._cloud)
        timesteps = edge.spec.timesteps
        self.passes = Passes(1 if edge.spec.input_kind == "static" else timesteps, timesteps, timesteps)

    def frames(self, inputs: Tensor) -> Tensor:
        edge = self._edge
        currents = edge.embed(inputs if inputs.dim() == 5 else inputs.unsqueeze(0))
        if inputs.dim() == 4:
            currents = currents.expand(edge.spec.timesteps, *currents.shape[1:])
        spikes: Tensor
        spikes, _ = edge(currents, edge.initial_state(currents.shape[1], device=inputs.device))
        return spikes

    def logits(self, frames: Tensor) -> Tensor:
        logits: Tensor
        logits, _ = self._cloud(frames, self._cloud.initial_state(frames.shape[1], device=frames.device))
        return logits

    def by_layer(self) -> ByLayer:
        return self


class Rate:
    """The `rate` execution in torch: the head runs once, the cloud reads the mean of the frames so far."""

    def __init__(self, edge: EdgeNetwork, cloud: CloudNetwork, head_levels: int, tail_levels: int) -> None:
        self._edge, self._cloud = RateEdge(edge, head_levels), RateCloud(cloud, tail_levels)
        self._neurons = EncoderNeurons(edge)
        self.halves = _halves(self._edge.network, self._cloud.network)
        inputs = 1 if edge.spec.input_kind == "static" else edge.spec.timesteps
        self.passes = Passes(inputs, inputs, edge.spec.timesteps)

    def frames(self, inputs: Tensor) -> Tensor:
        currents = self._edge(inputs if inputs.dim() == 4 else inputs.flatten(0, 1))
        return self._neurons.frames(currents.view(*inputs.shape[:-3], *currents.shape[1:]))

    def logits(self, frames: Tensor) -> Tensor:
        sums = frames.cumsum(0)
        steps = torch.arange(1, len(frames) + 1, device=frames.device)
        counts = steps[:, None].expand(frames.shape[:2]).flatten()
        logits: Tensor = self._cloud(sums.flatten(0, 1), counts)
        return logits.view(*frames.shape[:2], -1)

    def by_layer(self) -> ByLayer:
        return self


def in_one_pass(network: SplitNetwork, levels: int) -> SplitNetwork:
    """A copy without timesteps in which every neuron answers with its mean spike count over `levels` of them."""
    once = SplitNetwork(replace(network.spec, timesteps=1, input_kind="static"))
    once.edge, once.cloud = inference_form(network.edge), inference_form(network.cloud)
    use(once, mean_count(levels))
    return once


def _halves(edge: EdgeNetwork, cloud: CloudNetwork) -> SplitNetwork:
    with torch.device("meta"):  # its own halves are not used
        network = SplitNetwork(edge.spec)
    network.edge, network.cloud = edge, cloud
    return network


def running_answers(logits: Tensor, leak: float = 1.0) -> Tensor:
    """Average the logits over the timesteps so far, with a leak.

    Args:
        logits: of each timestep, [T, N, classes].
        leak: the weight of a timestep relative to the next one.

    Returns:
        Their weighted means so far, [T, N, classes].
    """
    total, weight, answers = torch.zeros_like(logits[0]), 0.0, []
    for step in logits:
        total, weight = leak * total + step, leak * weight + 1.0
        answers.append(total / weight)
    return torch.stack(answers)


def read_answers(execution: Execution, logits: Tensor, leak: float) -> Tensor:
    """The logits from which the cloud computes its answers, from those of each timestep [T, N, classes].

    `rate` computes each timestep's from all frames so far; `spiking` averages them.
    """
    return logits if execution == "rate" else running_answers(logits, leak)
