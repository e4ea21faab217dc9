"""The `rate` execution as ONNX graphs in integers: 8-bit weights, activations as the spike counts that they are.

An activation of L levels is a whole number 0..L, so nothing is lost by storing it in 8 bits, and a convolution that
rounds and saturates its sums (QLinearConv) is the activation itself, but for the upper end. What is rounded are the
weights, each output channel with a scale of its own, and currents that are added along a shortcut: to a fraction of a
level, a power of two. Products with those are exact in float32, so the order in which a processor does its work cannot
show: an answer has the same bits in any batch, with any number of threads, and on every processor that rounds as
IEEE 754 says. A current that lies exactly between two levels goes to the even one, where the float form goes up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from shared.models.inference import inference_form
from shared.models.layers import Readout
from shared.models.neuron import Neuron
from shared.models.split import CloudNetwork, EdgeNetwork
from shared.network_spec import NeuronSpec
from training.onnx_blocks import Blocks, crop, float_convolution, folded_layer, parameters, pool_sizes, sizes
from training.onnx_rate import encoder_layer, head_model, per_sample, tail_model
from training.onnx_writer import FLOAT, Writer

FloatArray = NDArray[np.floating[Any]]

MEAN_LEVELS = 120
"""The mean of a sample's frames is rounded to this many levels. It has 2, 3, 4, 5, 6, 8, 10, 12 and 15 as divisors, so
that many timesteps lose nothing; other means are off by at most 1/240."""

STEPS = 32
"""A current that is added along a shortcut is rounded to about the threshold divided by this: a step is a level times a
power of two. The outermost of 256 steps lie at -4 and 4 thresholds, or farther; what is beyond them saturates."""

GAIN_BITS = 12
"""Behind the point of a shortcut's gain: a count times a gain stays exact in float32."""

EXACT = 1 << 24
"""Whole numbers up to this are exact in float32, and so is any sum of them that stays below."""

INT8_PAIR = 32767 // 127 // 2
"""The largest input for weights of -127..127: processors without 8-bit dot products add pairs in 16 bits."""


def rate_head_int8(edge: EdgeNetwork, levels: int) -> onnx.ModelProto:
    """As `rate_head_graph`: the layers between the first convolution and the encoder in integers.

    Those two stay float32: one sees pixels, the other's current is added up over the timesteps.
    """
    form = inference_form(edge)
    blocks = _IntegerBlocks(Writer(), edge.spec.neuron, levels)
    first = blocks.counts(float_convolution(blocks.writer, form.embedding, "frame"))
    features = blocks.value(blocks.head(form.head, first))
    return head_model(blocks.writer, edge, float_convolution(blocks.writer, encoder_layer(form), features))


def rate_tail_int8(cloud: CloudNetwork, levels: int) -> onnx.ModelProto:
    """As `rate_tail_graph`, in integers from the mean of the frames to the readout's sums."""
    form = inference_form(cloud)
    blocks = _IntegerBlocks(Writer(), cloud.spec.neuron, levels)
    deep = blocks.block(form.tail, blocks.block(form.decoder, blocks.mean("sum")))
    return tail_model(blocks.writer, cloud, blocks.readout(form.readout, deep))


@dataclass(frozen=True)
class _Counts:
    """uint8 node `name`: activations times `levels`, at most `levels`."""

    name: str
    levels: int


@dataclass(frozen=True)
class _Term:
    """uint8 node `name`: (value - zero) * scale, in levels of the activation that it goes into."""

    name: str
    scale: float
    zero: int = 0


_Current = tuple[_Term, ...]
"""Terms that are still to be added."""


class _IntegerBlocks(Blocks[_Counts, _Current]):
    def __init__(self, writer: Writer, neuron: NeuronSpec, levels: int) -> None:
        super().__init__(writer)
        self._levels = levels
        self._to_levels = levels / neuron.threshold
        self._step = 0.5 ** math.floor(math.log2(STEPS / levels))

    def mean(self, total: str) -> _Counts:
        """The mean of frames from their sum and `timesteps`."""
        add, constant = self.writer.add, self.writer.constant
        scaled = add("Mul", add("Cast", total, to=FLOAT), constant(MEAN_LEVELS))
        mean = add("Div", scaled, per_sample(self.writer))
        return _Counts(self._round(mean, 1.0), MEAN_LEVELS)

    def value(self, x: _Counts) -> str:
        """Counts as the float32 values that they stand for."""
        return self.writer.add("DequantizeLinear", x.name, self.writer.constant(1.0 / x.levels), self._uint8(0))

    def spiking(self, neuron: Neuron, layer: nn.Module, x: _Counts) -> _Counts:
        """The convolution's own rounding is the activation."""
        folded = folded_layer(layer)
        if isinstance(folded, nn.Conv2d):
            return self._limited(self._convolution(*parameters(folded), x, 1.0, 0, sizes(folded)))
        weight, bias, stride = *parameters(folded), folded.stride[0]
        tiles = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [1, 1, 1, 1]}
        tiled = self._convolution(_tile_weights(weight, stride), np.repeat(bias, stride**2), x, 1.0, 0, tiles)
        whole = self.writer.add("DepthToSpace", tiled, blocksize=stride, mode="CRD")
        return self._limited(crop(self.writer, whole, (stride // 2, stride // 2), neuron.shape[1:]))

    def convolution(self, layer: nn.Module, x: _Counts) -> _Current:
        folded = folded_layer(layer)
        zero = 128
        return (_Term(self._convolution(*parameters(folded), x, self._step, zero, sizes(folded)), self._step, zero),)

    def counts(self, current: str) -> _Counts:
        """What neurons make of a current in float32."""
        return self._limited(self._round(current, 1.0 / self._to_levels))

    def fire(self, neuron: Neuron, current: _Current) -> _Counts:  # noqa: ARG002  they are all alike
        return self._limited(self._round(self._added(current), 1.0))

    def scaled(self, x: _Counts, gain: float) -> _Current:
        return (_Term(x.name, _rounded(gain * self._to_levels / x.levels, GAIN_BITS)),)

    def sum(self, left: _Current, right: _Current) -> _Current:
        if len(left) > 1:  # another neuron has had the sum already
            left = (_Term(self._round(self._added(left), self._step, 128), self._step, 128),)
        return (*left, *right)

    def max_pool(self, pool: nn.MaxPool2d, x: _Counts) -> _Counts:
        return _Counts(self.writer.add("MaxPool", x.name, **pool_sizes(pool)), x.levels)

    def readout(self, readout: Readout, x: _Counts) -> str:
        """Sums over space times whole weights, all below 2^24: exact in float32, whatever their order."""
        add, constant = self.writer.add, self.writer.constant
        weight, bias = (value.numpy(force=True).astype(np.float64) for value in readout.linear.parameters())
        cells = math.prod(readout.in_shape[1:])
        largest = x.levels * cells
        room = EXACT - largest * weight.shape[1]  # each weight may be rounded up by a half
        assert room > EXACT // 2, "so large a map leaves the readout's weights too few bits"
        scale = largest * (np.abs(weight).sum(1) + 1e-9) / room
        totals = add("ReduceSum", add("Cast", x.name, to=FLOAT), constant(np.array([2, 3]), np.int64), keepdims=0)
        products = add("MatMul", totals, constant(np.rint(weight / scale[:, np.newaxis]).T))
        return add("Add", add("Mul", products, constant(scale / largest)), constant(bias))

    def _convolution(
        self,
        weight: FloatArray,
        bias: FloatArray,
        x: _Counts,
        step: float,
        zero: int,
        attributes: dict[str, list[int]],
    ) -> str:
        """Rounded to whole `step`s of a level, `zero` added, saturating in uint8."""
        constant = self.writer.constant
        whole, scale, offset = _quantised(weight * (self._to_levels / x.levels), bias * self._to_levels)
        if x.levels <= INT8_PAIR:
            weights, weight_zero = constant(whole, np.int8), constant(0, np.int8)
        else:
            weights, weight_zero = constant(whole + 128, np.uint8), self._uint8(128)
        one, none = constant(1.0), self._uint8(0)
        quantised = (x.name, one, none, weights, constant(scale), weight_zero, constant(step), self._uint8(zero))
        return self.writer.add("QLinearConv", *quantised, constant(offset, np.int32), **attributes)

    def _added(self, terms: tuple[_Term, ...]) -> str:
        """In levels; onnxruntime makes one integer addition of this and the rounding after it."""
        values = [
            self.writer.add("DequantizeLinear", t.name, self.writer.constant(t.scale), self._uint8(t.zero))
            for t in terms
        ]
        return self.writer.add("Add", *values) if len(values) > 1 else values[0]

    def _round(self, x: str, step: float, zero: int = 0) -> str:
        return self.writer.add("QuantizeLinear", x, self.writer.constant(step), self._uint8(zero))

    def _limited(self, counts: str) -> _Counts:
        return _Counts(self.writer.add("Clip", counts, "", self._uint8(self._levels)), self._levels)

    def _uint8(self, value: int) -> str:
        return self.writer.constant(value, np.uint8)


def _quantised(weight: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Whole weights [O, ...] of -127..127, the scale of each output channel, and its bias in that scale.

    The bias of a channel whose weights are next to nothing does not leave the range of whole numbers.
    """
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    scale = np.maximum.reduce([largest / 127, np.abs(bias) / EXACT, np.full(len(bias), 1e-20)]).astype(np.float32)
    return np.rint(weight / scale.reshape(-1, 1, 1, 1)), scale, np.rint(bias / scale)


def _tile_weights(weight: FloatArray, stride: int) -> FloatArray:
    """A transposed convolution of kernel 2 * stride as a plain one of kernel 2 whose channels are the pixels of tiles.

    Each pixel of the enlarged map sees two by two inputs: those of its tile and of the tiles before it.

    Args:
        weight: [I, O, 2 * stride, 2 * stride].
        stride: of the transposed convolution.

    Returns:
        [O * stride * stride, I, 2, 2], in the order in which DepthToSpace (CRD) lays channels out.
    """
    inputs, outputs = weight.shape[:2]
    split = weight.reshape(inputs, outputs, 2, stride, 2, stride)[:, :, ::-1, :, ::-1]
    return np.ascontiguousarray(split.transpose(1, 3, 5, 0, 2, 4)).reshape(-1, inputs, 2, 2)


def _rounded(value: float, bits: int) -> float:
    return round(value * (1 << bits)) / (1 << bits)
