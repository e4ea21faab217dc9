"""The `rate` execution as ONNX graphs in float32: the head to the encoder's current, the tail on a sum of frames.

An activation is the mean spike count over L timesteps of a constant current x, the membrane starting at half the
threshold: clip(floor(x L / threshold + 1/2) / L, 0, 1), as in `training.activations.ClipFloorShift`.
"""

from __future__ import annotations

import numpy as np
import onnx
from torch import nn

from shared.errors import SpecError
from shared.models.inference import inference_form
from shared.models.layers import Readout, SpikingConv
from shared.models.neuron import Neuron
from shared.models.split import CloudNetwork, EdgeNetwork
from training.onnx_blocks import FloatBlocks
from training.onnx_writer import FLOAT, UINT8, Writer


def rate_head_graph(edge: EdgeNetwork, levels: int) -> onnx.ModelProto:
    """The head: `frame` float32 [1, C, H, W], normalised -> `current` float32 [1, C', H', W'] of the encoder's neuron.

    Args:
        edge: of any form.
        levels: L of the activations.

    Raises:
        SpecError: the network has no bottleneck.
    """
    form = inference_form(edge)
    blocks = _RateBlocks(Writer(), levels)
    first = blocks.fire(form.neurons[0], blocks.convolution(form.embedding, "frame"))
    features = blocks.head(form.head, first)
    return head_model(blocks.writer, edge, blocks.convolution(encoder_layer(form), features))


def rate_tail_graph(cloud: CloudNetwork, levels: int) -> onnx.ModelProto:
    """The tail: `sum` uint8 [B, C', H', W'] of `timesteps` float32 [B] frames -> `logits` float32 [B, classes].

    The logits are not divided by the temperature.

    Args:
        cloud: of any form.
        levels: L of the activations.
    """
    form = inference_form(cloud)
    blocks = _RateBlocks(Writer(), levels)
    mean = blocks.writer.add("Div", blocks.writer.add("Cast", "sum", to=FLOAT), per_sample(blocks.writer))
    deep = blocks.block(form.tail, blocks.block(form.decoder, mean))
    return tail_model(blocks.writer, cloud, _readout(blocks.writer, form.readout, deep))


class _RateBlocks(FloatBlocks):
    """Blocks whose neurons give their mean spike count, 0 to 1."""

    def __init__(self, writer: Writer, levels: int) -> None:
        super().__init__(writer)
        self._levels = levels

    def fire(self, neuron: Neuron, current: str) -> str:
        add, constant, levels = self.writer.add, self.writer.constant, self._levels
        counts = add("Floor", add("Add", add("Mul", current, constant(levels / neuron.spec.threshold)), constant(0.5)))
        return add("Div", add("Clip", counts, constant(0.0), constant(levels)), constant(levels))


def encoder_layer(edge: EdgeNetwork) -> nn.Module:
    """The encoder's convolution.

    Raises:
        SpecError: the network has no bottleneck.
    """
    if not isinstance(edge.encoder, SpikingConv):
        raise SpecError("the rate execution needs network.bottleneck: the bottleneck's neurons make the frames")
    return edge.encoder.current


def head_model(writer: Writer, edge: EdgeNetwork, current: str) -> onnx.ModelProto:
    """The finished head, in any arithmetic."""
    frame, out = ((1, *shape) for shape in (edge.spec.input_shape, edge.out_shape))
    return writer.model("rate_head", {"frame": (FLOAT, frame)}, {"current": (current, FLOAT, out)})


def tail_model(writer: Writer, cloud: CloudNetwork, logits: str) -> onnx.ModelProto:
    """The finished tail, in any arithmetic."""
    inputs = {"sum": (UINT8, ("batch", *cloud.in_shape)), "timesteps": (FLOAT, ("batch",))}
    return writer.model("rate_tail", inputs, {"logits": (logits, FLOAT, ("batch", cloud.spec.classes))})


def per_sample(writer: Writer) -> str:
    """`timesteps` [B] as [B, 1, 1, 1]."""
    return writer.add("Unsqueeze", "timesteps", writer.constant(np.array([1, 2, 3]), np.int64))


def _readout(writer: Writer, readout: Readout, x: str) -> str:
    weight, bias = (writer.constant(value.numpy(force=True)) for value in (readout.linear.weight, readout.linear.bias))
    mean = writer.add("ReduceMean", x, axes=[2, 3], keepdims=0)
    return writer.add("Gemm", mean, weight, bias, transB=1)
