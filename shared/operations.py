"""How many operations a network takes, layer by layer, counted from its specification: no torch, no weights.

One operation is a multiplication with its addition, or the addition alone where the input is spikes. Counts are dense:
as if every input were there. What spikes spare is the share of inputs that are zero, which only a measurement knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from shared.network_spec import SPLITS, VGG_CONVOLUTIONS, LightHeadSpec, NetworkSpec, Shape

Side = Literal["edge", "cloud"]


@dataclass(frozen=True)
class LayerCount:
    """A layer with weights. `dense`: operations in one pass; `real_valued`: its input is the picture and not spikes."""

    stage: str
    half: Side
    dense: int
    real_valued: bool = False


def count(spec: NetworkSpec) -> tuple[LayerCount, ...]:
    """The layers with weights in the order in which they run, those of the bottleneck among them.

    The first, which is real-valued, runs once for a picture and once for each frame of events; the others at every
    timestep.
    """
    cut = SPLITS[spec.backbone].index(spec.split)
    layers: list[LayerCount] = []
    shape = spec.input_shape
    for index, name in enumerate(SPLITS[spec.backbone]):
        half: Side = "edge" if index <= cut else "cloud"
        operations, shape = _stage(spec, index, shape)
        if spec.backbone_at_edge or half == "cloud":
            layers += [LayerCount(name, half, dense, index + at == 0) for at, dense in enumerate(operations)]
        if index == cut:
            layers += _bottleneck(spec, shape) if spec.light is None else _light(spec, spec.light, shape)
    return (*layers, LayerCount("readout", "cloud", shape[0] * spec.classes))


def dense(spec: NetworkSpec, half: Side | None = None, *, real_valued: bool = False) -> int:
    """Operations of one pass of a half, or of both: of the layers that see spikes, or of the one `real_valued`."""
    return sum(layer.dense for layer in count(spec) if half in (None, layer.half) and layer.real_valued is real_valued)


def split_shape(spec: NetworkSpec) -> Shape:
    """Of the feature map at the split."""
    shape = spec.input_shape
    for index in range(SPLITS[spec.backbone].index(spec.split) + 1):
        _, shape = _stage(spec, index, shape)
    return shape


def frame_shape(spec: NetworkSpec) -> Shape:
    """Of the spikes on the wire."""
    if spec.bottleneck is None:
        return split_shape(spec)
    shape = split_shape(spec) if spec.backbone_at_edge else spec.input_shape
    for stride in (spec.bottleneck.stride,) if spec.light is None else spec.light.strides:
        shape = (spec.bottleneck.channels, -(-shape[1] // stride), -(-shape[2] // stride))
    return shape


def _stage(spec: NetworkSpec, index: int, shape: Shape) -> tuple[list[int], Shape]:
    """The operations of each layer of a backbone's stage, and the shape of the stage's output."""
    if spec.backbone == "vgg16":
        channels = spec.width * min(1 << index, 8)
        layers = []
        for _ in range(VGG_CONVOLUTIONS[index]):
            operations, shape = _convolution(shape, channels)
            layers.append(operations)
        return layers, _halved(shape) if min(shape[1:]) >= 2 else shape
    if index == 0:
        imagenet = spec.stem == "imagenet"
        operations, shape = _convolution(shape, spec.width, *((7, 2) if imagenet else (3, 1)))
        # Max pooling over 3 with padding 1 and stride 2 rounds up.
        return [operations], (shape[0], -(-shape[1] // 2), -(-shape[2] // 2)) if imagenet else shape
    return _residual(shape, spec.width << (index - 1), 2 if index > 1 else 1, spec.blocks[index - 1])


def _residual(shape: Shape, channels: int, stride: int, blocks: int) -> tuple[list[int], Shape]:
    layers = []
    if stride != 1 or shape[0] != channels:
        layers.append(_convolution(shape, channels, 1, stride)[0])
    for _ in range(blocks):
        for step in (stride, 1):
            operations, shape = _convolution(shape, channels, 3, step)
            layers.append(operations)
        stride = 1
    return layers, shape


def _bottleneck(spec: NetworkSpec, shape: Shape) -> Iterator[LayerCount]:
    if spec.bottleneck is None:
        return
    channels, stride = spec.bottleneck.channels, spec.bottleneck.stride
    kernel = 3 if stride == 1 else 2 * stride - 1
    operations, encoded = _convolution(shape, channels, kernel, stride)
    yield LayerCount("encoder", "edge", operations)
    if stride == 1:
        yield LayerCount("decoder", "cloud", _convolution(encoded, shape[0])[0])
    else:  # transposed: each input reaches a square of outputs
        yield LayerCount("decoder", "cloud", prod(encoded) * shape[0] * (2 * stride) ** 2)


def _light(spec: NetworkSpec, light: LightHeadSpec, split_shape: Shape) -> Iterator[LayerCount]:
    """The convolutions of `light`, the encoder, and the decoder that leads to the split's features."""
    shape = split_shape if light.start == "split" else spec.input_shape
    for index, (channels, stride) in enumerate(zip(light.channels, light.strides, strict=True)):
        operations, shape = _convolution(shape, channels, 3, stride)
        yield LayerCount("light", "edge", operations, index == 0 and light.start == "input")
    assert spec.bottleneck is not None
    operations, shape = _convolution(shape, spec.bottleneck.channels, 1)
    yield LayerCount("encoder", "edge", operations)
    first, *others = light.decoder
    for channels in (first, first):
        operations, shape = _convolution(shape, channels)
        yield LayerCount("decoder", "cloud", operations)
    for channels in others:
        yield LayerCount("decoder", "cloud", prod(shape) * channels * 16)  # transposed, 4 x 4
        operations, shape = _convolution((channels, 2 * shape[1], 2 * shape[2]), channels)
        yield LayerCount("decoder", "cloud", operations)
    yield LayerCount("decoder", "cloud", _convolution(shape, split_shape[0])[0])


def _convolution(shape: Shape, channels: int, kernel: int = 3, stride: int = 1) -> tuple[int, Shape]:
    out = (channels, -(-shape[1] // stride), -(-shape[2] // stride))
    return prod(out) * shape[0] * kernel * kernel, out


def _halved(shape: Shape) -> Shape:
    return shape[0], shape[1] // 2, shape[2] // 2
