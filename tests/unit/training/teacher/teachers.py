"""Tiny teachers: files that answer with the mean colours of a picture, so that a test knows what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

TYPES = {"float": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}


def write_onnx(
    path: Path,
    shape: tuple[int | str, ...] = ("batch", 3, 8, 8),
    kind: str = "float",
    weights: np.ndarray | None = None,
    softmax: bool = False,
    **metadata: str,
) -> Path:
    """Logits are `weights` [channels, classes] times the mean of each channel."""
    last = shape[3] == 3 and shape[1] != 3
    weights = np.eye(3, dtype=np.float32) if weights is None else weights.astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["picture"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values"], ["means"], axes=[1, 2] if last else [2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["products"]),
        helper.make_node("Softmax" if softmax else "Identity", ["products"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("picture", TYPES[kind], list(shape))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], weights.shape[1]])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
    return path


class Means(nn.Module):
    """The same as a module."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.mean((-2, -1))


def write_torchscript(path: Path) -> Path:
    torch.jit.trace(Means(), torch.zeros(1, 3, 8, 8)).save(str(path))
    return path
