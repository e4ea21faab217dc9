"""A head as ONNX graphs: its first convolution, and one timestep of the rest with the membranes going in and out.

The graphs are written block by block from the inference form (normalisation folded), not traced: a traced step is full
of the time axis's reshapes, and torch's exporters need more packages or are about to go. A new kind of block must be
taught here; one that was not is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from shared.models.inference import inference_form
from shared.models.layers import Chain, Gain, MaxPool, ResidualStage, SpikingConv, SpikingModule
from shared.models.neuron import Neuron
from shared.models.split import EdgeNetwork, Entry
from shared.network_spec import Shape

OPSET, IR_VERSION = 17, 8
"""Read by onnxruntime 1.14 and newer."""

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


def embed_graph(edge: EdgeNetwork) -> onnx.ModelProto:
    """The first convolution: `frame` float32 [1, C, H, W], normalised -> `current` [1, C1, H1, W1]."""
    form = inference_form(edge)
    graph = _Graph()
    current = graph.convolution(form.embedding, "frame")
    return graph.model("embed", {"frame": edge.spec.input_shape}, {"current": (current, FLOAT, form.in_shape)})


def step_graph(edge: EdgeNetwork) -> onnx.ModelProto:
    """One timestep: `current` and `membrane0`, `membrane1`, ... float32 -> `spikes` uint8 [1, C', H', W'] of 0 and 1,
    and `membrane0_after`, ...; membranes are numbered in the order in which the neurons fire."""
    form = inference_form(edge)
    graph = _Graph()
    spikes = graph.block(form.encoder, graph.block(form.head, "current"))
    assert len(graph.membranes) == len(form.neurons)
    inputs = {"current": form.in_shape, **{f"membrane{i}": neuron.shape for i, neuron in enumerate(form.neurons)}}
    outputs = {"spikes": (graph.add("Cast", spikes, to=UINT8), UINT8, form.out_shape)}
    for index, (after, neuron) in enumerate(zip(graph.membranes, form.neurons, strict=True)):
        outputs[f"membrane{index}_after"] = (after, FLOAT, neuron.shape)
    return graph.model("step", inputs, outputs)


class _Graph:
    """Nodes and constants as they are added; each node has one output, whose name `add` returns."""

    def __init__(self) -> None:
        self.membranes: list[str] = []
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, NDArray[np.float32]] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: NDArray[np.float32] | float) -> str:
        name = f"constant{len(self._constants)}"
        self._constants[name] = np.array(value, np.float32)
        return name

    def block(self, block: SpikingModule | nn.Module, x: str) -> str:
        """`block.step(x, state)`: the output's name; the membranes are noted."""
        if isinstance(block, Entry):
            return self.block(block.after, self.neuron(block.neuron, x))
        if isinstance(block, Chain):
            for part in block.blocks:
                x = self.block(part, x)
            return x
        if isinstance(block, SpikingConv):
            return self.neuron(block.neuron, self.convolution(block.current, x))
        if isinstance(block, ResidualStage):
            return self._residual(block, x)
        if isinstance(block, MaxPool):
            pool = block.pool
            sizes = {"kernel_shape": [pool.kernel_size] * 2, "strides": [pool.stride] * 2, "pads": [pool.padding] * 4}
            return self.add("MaxPool", x, **sizes)
        raise NotImplementedError(f"{type(block).__name__} has no ONNX form yet: add it to training/onnx_graph.py")

    def neuron(self, neuron: Neuron, current: str) -> str:
        """The recurrence of shared/models/neuron.py: the reset is that of the membrane as it comes in."""
        spec = neuron.spec
        membrane, threshold = f"membrane{len(self.membranes)}", self.constant(spec.threshold)
        fired = self.add("Cast", self.add("Greater", membrane, threshold), to=FLOAT)
        reset = fired if spec.threshold == 1.0 else self.add("Mul", fired, threshold)
        decayed = membrane if spec.leak == 1.0 else self.add("Mul", membrane, self.constant(spec.leak))
        after = self.add("Sub", self.add("Add", decayed, current), reset)
        self.membranes.append(after)
        return self.add("Cast", self.add("Greater", after, threshold), to=FLOAT)

    def convolution(self, pair: nn.Module, x: str) -> str:
        """A convolution whose normalisation was folded into it."""
        assert isinstance(pair, nn.Sequential)
        layer = pair[0]
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        weight, bias = (self.constant(value.numpy(force=True)) for value in (layer.weight, layer.bias))
        pads = [int(side) for side in layer.padding] * 2
        sizes = {"kernel_shape": list(layer.kernel_size), "strides": list(layer.stride), "pads": pads}
        return self.add("Conv", x, weight, bias, **sizes)

    def model(
        self, name: str, inputs: Mapping[str, Shape], outputs: Mapping[str, tuple[str, int, Shape]]
    ) -> onnx.ModelProto:
        """The finished graph; `outputs` names for each the node that gives it, its type and its shape."""
        renamed = {node: given for given, (node, _, _) in outputs.items()}
        for node in self._nodes:
            node.input[:] = [renamed.get(value, value) for value in node.input]
            node.output[:] = [renamed.get(value, value) for value in node.output]
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(given, FLOAT, [1, *shape]) for given, shape in inputs.items()],
            [helper.make_tensor_value_info(given, kind, [1, *shape]) for given, (_, kind, shape) in outputs.items()],
            [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in self._constants.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="neucodex"
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _residual(self, stage: ResidualStage, x: str) -> str:
        shortcut = stage.shortcut
        if isinstance(shortcut, Gain):
            current = self.add("Mul", x, self.constant(float(shortcut.gain)))
        else:
            current = self.convolution(shortcut, x)
        for inner, outer, end in zip(stage.inner, stage.outer, stage.ends, strict=True):
            assert isinstance(end, Neuron)
            current = self.add("Add", current, self.convolution(outer, self.block(inner, x)))
            x = self.neuron(end, current)
        return x
