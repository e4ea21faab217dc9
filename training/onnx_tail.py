"""One timestep of the spiking tail as an ONNX graph that holds no weights: they are those of the bundle's tail.

The graph names them as the tail's file does, in the type in which it stores them. It casts them and folds the
normalisations itself, which onnxruntime does once, when it opens the graph.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import onnx
from onnx import TensorProto
from torch import Tensor, nn

from shared.bundle_writer import as_stored
from shared.models.layers import Gain
from shared.models.split import CloudNetwork
from training.onnx_blocks import folded_layer, sizes
from training.onnx_graph import StepBlocks
from training.onnx_writer import FLOAT, UINT8, Dimensions, Writer

WEIGHTS = "tail.safetensors"
"""The file that the graph names for its weights; the program that opens the graph passes them in."""


def tail_step_graph(cloud: CloudNetwork) -> onnx.ModelProto:
    """One timestep: `frame` uint8 [B, C', H', W'] and `membrane0`, `membrane1`, ... float32 [B, C, H, W] -> `logits`
    float32 [B, classes] of this timestep by itself, and `membrane0_after`, ...; membranes are numbered in the order in
    which the neurons fire."""
    writer = Writer()
    blocks = _TailBlocks(writer, cloud)
    deep = blocks.block(cloud.tail, blocks.block(cloud.decoder, writer.add("Cast", "frame", to=FLOAT)))
    shapes: list[Dimensions] = [("batch", *neuron.shape) for neuron in cloud.neurons]
    inputs: dict[str, tuple[int, Dimensions]] = {"frame": (UINT8, ("batch", *cloud.in_shape))}
    inputs |= {f"membrane{index}": (FLOAT, shape) for index, shape in enumerate(shapes)}
    outputs: dict[str, tuple[str, int, Dimensions]] = {
        "logits": (blocks.readout(cloud.readout.linear, deep), FLOAT, ("batch", cloud.spec.classes))
    }
    for index, (after, shape) in enumerate(zip(blocks.membranes, shapes, strict=True)):
        outputs[f"membrane{index}_after"] = (after, FLOAT, shape)
    return _without_weights(writer.model("tail_step", inputs, outputs), blocks.weights)


class _TailBlocks(StepBlocks):
    """Blocks of a network as it was trained, normalisations and all; `weights` are the names that were taken."""

    def __init__(self, writer: Writer, cloud: CloudNetwork) -> None:
        super().__init__(writer)
        self._names = {value: name for name, value in cloud.state_dict(keep_vars=True).items()}
        self.weights: list[str] = []

    def convolution(self, layer: nn.Module, x: str) -> str:
        add, constant = self.writer.add, self.writer.constant
        convolution, (_, norm) = folded_layer(layer), cast(nn.Sequential, layer)
        assert isinstance(norm, nn.BatchNorm2d)
        gain, offset, mean, variance = (
            self._weight(cast(Tensor, value)) for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        )
        scale = add("Div", gain, add("Sqrt", add("Add", variance, constant(norm.eps))))
        transposed = isinstance(convolution, nn.ConvTranspose2d)
        each_channel = np.array((1, -1, 1, 1) if transposed else (-1, 1, 1, 1))
        shaped = add("Reshape", scale, constant(each_channel, np.int64))
        weight = add("Mul", self._weight(convolution.weight), shaped)
        bias = add("Sub", offset, add("Mul", mean, scale))
        return add("ConvTranspose" if transposed else "Conv", x, weight, bias, **sizes(convolution))

    def readout(self, linear: nn.Linear, x: str) -> str:
        """The mean over space, then the linear layer."""
        mean = self.writer.add("ReduceMean", x, axes=[2, 3], keepdims=0)
        return self.writer.add("Gemm", mean, self._weight(linear.weight), self._weight(linear.bias), transB=1)

    def _shortcut(self, shortcut: nn.Module, x: str) -> str:
        if isinstance(shortcut, Gain):
            return self.writer.add("Mul", x, self._weight(shortcut.gain))
        return super()._shortcut(shortcut, x)

    def _weight(self, value: Tensor) -> str:
        """A weight of the tail in float32."""
        name = self._names[value]
        stored = as_stored(value.numpy(force=True))
        self.writer.named(name, stored)
        self.weights.append(name)
        return name if stored.dtype == np.float32 else self.writer.add("Cast", name, to=FLOAT)


def _without_weights(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """The model without these weights: the program that opens it passes them in."""
    wanted = set(names)
    for tensor in model.graph.initializer:
        if tensor.name in wanted:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            length = math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            for key, text in (("location", WEIGHTS), ("length", str(length))):
                tensor.external_data.add(key=key, value=text)
    return model
