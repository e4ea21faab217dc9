"""Thresholds balanced by data: each channel of each neuron layer scaled so that its activations reach one threshold.

After Diehl et al., "Fast-classifying, High-accuracy Spiking Deep Networks Through Weight and Threshold Balancing",
2015, with a percentile for the maximum (Rueckauer et al., 2017), channel by channel (Kim et al., "Spiking-YOLO", 2020).
The scales go into the weights: what feeds a neuron is divided by its scale, what reads it is multiplied. So the float
network computes what it did, and one threshold fits all neurons.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.models.layers import Chain, MaxPool, ResidualBlock, SpikingConv
from shared.models.neuron import Neuron
from shared.models.split import Entry, SplitNetwork

VALUES_A_BATCH = 1024
"""The most values of each channel that a percentile is computed from."""


@dataclass
class Site:
    """Neuron layers that must share their scales: one, or those that a shortcut without weights ties together.

    producers: the normalisations whose outputs add up to their currents; consumers: what reads their spikes.
    """

    neurons: list[Neuron]
    producers: list[nn.BatchNorm2d]
    consumers: list[nn.Conv2d | nn.Linear] = field(default_factory=list)


def sites(network: SplitNetwork) -> list[Site]:
    """The sites of a network without a bottleneck, in the order in which they fire.

    Raises:
        ConfigError: the network sends currents along its shortcuts, past the neurons, or has a bottleneck.
    """
    if network.spec.shortcut == "currents" and network.spec.backbone == "resnet18":
        raise ConfigError("balancing needs network.shortcut = 'spikes': currents along shortcuts pass the neurons by")
    if network.spec.bottleneck is not None:
        raise ConfigError("a network is balanced without its bottleneck")
    found: list[Site] = []

    def site(neuron: Neuron, *producers: nn.Sequential) -> Site:
        found.append(Site([neuron], [_norm(producer) for producer in producers]))
        return found[-1]

    def walk(block: nn.Module, source: Site | None) -> Site:
        if isinstance(block, Entry):
            return walk(block.after, site(block.neuron, network.edge.embedding))
        assert source is not None, "every network begins with its entry"
        if isinstance(block, Chain):
            for part in block.blocks:
                source = walk(part, source)
            return source
        if isinstance(block, MaxPool):
            return source
        if isinstance(block, SpikingConv):
            source.consumers.append(_convolution(block.current))
            return site(block.neuron, block.current)
        assert isinstance(block, ResidualBlock), type(block).__name__
        inner = walk(block.inner, source)
        inner.consumers.append(_convolution(block.outer))
        if isinstance(block.shortcut, nn.Sequential):
            source.consumers.append(_convolution(block.shortcut))
            return site(block.end, block.outer, block.shortcut)
        source.neurons.append(block.end)
        source.producers.append(_norm(block.outer))
        return source

    last: Site | None = None
    for block in (*network.edge.head.blocks, *network.cloud.tail.blocks):
        last = walk(block, last)
    assert last is not None
    last.consumers.append(network.cloud.readout.linear)
    return found


@torch.no_grad()
def balance(network: SplitNetwork, batches: Iterable[Tensor], percentile: float) -> None:
    """Scale every site so that `percentile` (in 0..100) of its channels' activations reach 1, the mean count of a
    neuron that fires at every timestep.

    Args:
        network: with float neurons, in inference mode; its weights are changed, its float outputs are not.
        batches: input of the network, [B, C, H, W] each.
        percentile: of the activations that are not 0.
    """
    found = sites(network)
    scales = _percentiles(network, [neuron for site in found for neuron in site.neurons], batches, percentile / 100.0)
    for site in found:
        scale = torch.stack([scales[neuron] for neuron in site.neurons]).amax(0)
        scale = torch.where(scale > 0.0, scale, torch.ones_like(scale))  # a channel that never fires is left
        for norm in site.producers:
            norm.weight.div_(scale)
            norm.bias.div_(scale)
        for consumer in site.consumers:
            consumer.weight.mul_(scale.view(1, -1, *[1] * (consumer.weight.dim() - 2)))


def _convolution(pair: nn.Sequential) -> nn.Conv2d:
    assert isinstance(pair[0], nn.Conv2d)
    return pair[0]


def _norm(pair: nn.Sequential) -> nn.BatchNorm2d:
    assert isinstance(pair[1], nn.BatchNorm2d)
    return pair[1]


def _percentiles(
    network: SplitNetwork, neurons: list[Neuron], batches: Iterable[Tensor], share: float
) -> dict[Neuron, Tensor]:
    """For each layer the quantile of its channels' activations over all batches, [C]."""
    seen: dict[Neuron, list[Tensor]] = {neuron: [] for neuron in neurons}

    def note(neuron: Neuron, _: nn.Module, __: object, out: tuple[Tensor, Tensor]) -> None:
        by_channel = out[0].float().transpose(0, 2).flatten(1)  # [C, T * B * H * W]
        seen[neuron].append(by_channel[:, torch.randperm(by_channel.shape[1], generator=random)[:VALUES_A_BATCH]])

    random = torch.Generator().manual_seed(0)
    handles = [neuron.register_forward_hook(partial(note, neuron)) for neuron in neurons]
    try:
        for batch in batches:
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {neuron: _positive_quantile(torch.cat(values, 1), share) for neuron, values in seen.items()}


def _positive_quantile(rows: Tensor, share: float) -> Tensor:
    """The quantile of each row's values above 0; 0 if there is none."""
    ordered = rows.sort(dim=1).values
    count = (rows > 0).sum(1)
    at = rows.shape[1] - count + (share * (count - 1).clamp(min=0)).round().long()
    return ordered.gather(1, at.clamp(max=rows.shape[1] - 1).unsqueeze(1)).squeeze(1).clamp(min=0.0)
