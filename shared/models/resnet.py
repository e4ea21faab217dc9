"""Spiking ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; neurons for its ReLUs)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from shared.models.layers import Chain, ConvNorm, MaxPool, ResidualBlock, ResidualStage, SpikingModule
from shared.network_spec import NetworkSpec, Shape


def resnet18_entry(spec: NetworkSpec) -> tuple[ConvNorm, list[SpikingModule]]:
    """The first convolution, and what follows its neuron: nothing at 32 px, max pooling for larger inputs."""
    if spec.stem == "cifar":
        return ConvNorm(spec.input_shape, spec.width), []
    entry = ConvNorm(spec.input_shape, spec.width, kernel=7, stride=2)
    return entry, [MaxPool(entry.out_shape, kernel=3, stride=2, padding=1)]


def resnet18_stages(spec: NetworkSpec) -> dict[str, Callable[[Shape], SpikingModule]]:
    """How to build layer1..layer4 from their input's shape: as many residual blocks each as `spec.blocks` says.

    Every layer after the first halves the map and doubles the channels.
    """

    def layer(shape: Shape, index: int) -> SpikingModule:
        channels, stride, blocks = spec.width << index, 2 if index > 0 else 1, spec.blocks[index]
        if spec.shortcut == "currents":
            return ResidualStage(shape, channels, spec.neuron, stride, blocks)
        first = ResidualBlock(shape, channels, spec.neuron, stride)
        rest = [ResidualBlock(first.out_shape, channels, spec.neuron) for _ in range(1, blocks)]
        return Chain(shape, [first, *rest])

    return {f"layer{index + 1}": partial(layer, index=index) for index in range(4)}
