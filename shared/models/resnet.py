"""Spiking ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; neurons for its ReLUs)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from shared.models.layers import ConvNorm, MaxPool, ResidualStage, SpikingModule
from shared.network_spec import RESNET_BLOCKS, NetworkSpec, Shape


def resnet18_entry(spec: NetworkSpec) -> tuple[ConvNorm, list[SpikingModule]]:
    """The first convolution, and what follows its neuron: nothing at 32 px, max pooling for larger inputs."""
    if spec.stem == "cifar":
        return ConvNorm(spec.input_shape, spec.width), []
    entry = ConvNorm(spec.input_shape, spec.width, kernel=7, stride=2)
    return entry, [MaxPool(entry.out_shape, kernel=3, stride=2, padding=1)]


def resnet18_stages(spec: NetworkSpec) -> dict[str, Callable[[Shape], SpikingModule]]:
    """How to build layer1..layer4 from their input's shape: two residual blocks each.

    Every layer after the first halves the map and doubles the channels.
    """

    def layer(shape: Shape, index: int) -> SpikingModule:
        return ResidualStage(shape, spec.width << index, spec.neuron, 2 if index > 0 else 1, RESNET_BLOCKS)

    return {f"layer{index + 1}": partial(layer, index=index) for index in range(4)}
