"""Spiking VGG-16 with batch normalisation and one linear readout, as is usual on small pictures.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
ICLR 2015: configuration D.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from shared.models.layers import Chain, ConvNorm, MaxPool, SpikingConv, SpikingModule
from shared.network_spec import VGG_CONVOLUTIONS, NetworkSpec, Shape


def vgg16_entry(spec: NetworkSpec) -> tuple[ConvNorm, list[SpikingModule]]:
    """The first of the thirteen convolutions; its neuron is the network's first."""
    return ConvNorm(spec.input_shape, spec.width), []


def vgg16_stages(spec: NetworkSpec) -> dict[str, Callable[[Shape], SpikingModule]]:
    """How to build block1..block5 from their input's shape; block1 lacks the convolution that is the entry.

    A map too small to be halved is left as it is, so that small inputs reach the last block.
    """

    def block(shape: Shape, index: int) -> SpikingModule:
        parts: list[SpikingModule] = []
        out = shape
        for _ in range(VGG_CONVOLUTIONS[index] - (index == 0)):
            parts.append(SpikingConv(out, spec.width * min(1 << index, 8), spec.neuron))
            out = parts[-1].out_shape
        if min(out[1:]) >= 2:
            parts.append(MaxPool(out))
        return Chain(shape, parts)

    return {f"block{index + 1}": partial(block, index=index) for index in range(len(VGG_CONVOLUTIONS))}
