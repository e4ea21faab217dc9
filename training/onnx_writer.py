"""ONNX nodes and constants as they are added, and the finished model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8
"""Read by onnxruntime 1.14 and newer."""

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8

Dimensions = Sequence[int | str]
"""The shape of a tensor; a name stands for a free size."""


class Writer:
    """Builds a graph. Each node has one output, whose name `add` returns."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: NDArray[Any] | float, kind: type[np.generic] = np.float32) -> str:
        name = f"constant{len(self._constants)}"
        self.named(name, np.array(value, kind))
        return name

    def named(self, name: str, value: NDArray[Any]) -> None:
        """A constant by a name of the caller's."""
        self._constants[name] = np.asarray(value, order="C")

    def model(
        self,
        name: str,
        inputs: Mapping[str, tuple[int, Dimensions]],
        outputs: Mapping[str, tuple[str, int, Dimensions]],
    ) -> onnx.ModelProto:
        """The finished graph.

        Args:
            name: of the graph.
            inputs: for each its type and its dimensions.
            outputs: for each the node that makes it, its type and its dimensions.
        """
        renamed = {node: given for given, (node, _, _) in outputs.items()}
        for node in self._nodes:
            node.input[:] = [renamed.get(value, value) for value in node.input]
            node.output[:] = [renamed.get(value, value) for value in node.output]
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(given, kind, list(sizes)) for given, (kind, sizes) in inputs.items()],
            [helper.make_tensor_value_info(given, kind, list(sizes)) for given, (_, kind, sizes) in outputs.items()],
            [numpy_helper.from_array(value, name) for name, value in self._constants.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="neucodex"
        )
        onnx.checker.check_model(model, full_check=True)
        return model
