"""What an ONNX graph brings along, looked at before a runtime gets it: are its numbers finite, and all in its own file?

A bundle's machine need not have the package onnx. Protobuf reads the few fields that hold numbers, by the numbers that
ONNX gives them (onnx.proto); all others are passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

FLOAT, FLOAT16, DOUBLE, BFLOAT16 = 1, 10, 11, 16
WHOLE = frozenset({2, 3, 4, 5, 6, 7, 8, 9, 12, 13})
"""Integers, booleans and text. Other kinds of floats, of 8 bits and fewer, are in no bundle."""

EXTERNAL = 1
"""Of `data_location`: the numbers are in another file."""

_OPTIONAL, _REPEATED = 1, 3
_FLOAT32, _FLOAT64, _INT32, _STRING, _MESSAGE, _BYTES = 2, 1, 5, 9, 11, 12
_FIELDS: dict[str, tuple[tuple[str, int, int, int, str], ...]] = {
    "Model": (("graph", 7, _OPTIONAL, _MESSAGE, "Graph"), ("functions", 25, _REPEATED, _MESSAGE, "Function")),
    "Function": (("node", 7, _REPEATED, _MESSAGE, "Node"), ("attribute_proto", 11, _REPEATED, _MESSAGE, "Attribute")),
    "Graph": (
        ("node", 1, _REPEATED, _MESSAGE, "Node"),
        ("initializer", 5, _REPEATED, _MESSAGE, "Tensor"),
        ("sparse_initializer", 15, _REPEATED, _MESSAGE, "Sparse"),
    ),
    "Node": (("attribute", 5, _REPEATED, _MESSAGE, "Attribute"),),
    "Attribute": (
        ("f", 2, _OPTIONAL, _FLOAT32, ""),
        ("t", 5, _OPTIONAL, _MESSAGE, "Tensor"),
        ("g", 6, _OPTIONAL, _MESSAGE, "Graph"),
        ("floats", 7, _REPEATED, _FLOAT32, ""),
        ("tensors", 10, _REPEATED, _MESSAGE, "Tensor"),
        ("graphs", 11, _REPEATED, _MESSAGE, "Graph"),
        ("sparse_tensor", 22, _OPTIONAL, _MESSAGE, "Sparse"),
        ("sparse_tensors", 23, _REPEATED, _MESSAGE, "Sparse"),
    ),
    "Sparse": (("values", 1, _OPTIONAL, _MESSAGE, "Tensor"), ("indices", 2, _OPTIONAL, _MESSAGE, "Tensor")),
    "Tensor": (
        ("data_type", 2, _OPTIONAL, _INT32, ""),
        ("float_data", 4, _REPEATED, _FLOAT32, ""),
        ("int32_data", 5, _REPEATED, _INT32, ""),
        ("name", 8, _OPTIONAL, _BYTES, ""),
        ("raw_data", 9, _OPTIONAL, _BYTES, ""),
        ("double_data", 10, _REPEATED, _FLOAT64, ""),
        ("data_location", 14, _OPTIONAL, _INT32, ""),
    ),
}


def check_numbers(graph: bytes, given: Collection[str] = ()) -> None:
    """Whether a graph can be computed with, as far as its numbers go.

    Args:
        graph: an ONNX file's bytes.
        given: names of the weights that the graph takes from outside.

    Raises:
        ValueError: it is no graph, a number is not finite, or it names a file that is none of the bundle's. The tensor
            is named.
    """
    try:
        model = _MODEL.FromString(graph)
    except DecodeError:
        raise ValueError("it is no ONNX graph") from None
    for part in _all_within(model):
        if part.DESCRIPTOR.name == "Tensor":
            _check_tensor(part, given)
        elif part.DESCRIPTOR.name == "Attribute" and not np.isfinite([part.f, *part.floats]).all():
            raise ValueError("an attribute is not finite")


def _check_tensor(tensor: Any, given: Collection[str]) -> None:
    name = tensor.name.decode(errors="replace")
    if tensor.data_location == EXTERNAL:
        if name not in given:
            raise ValueError(f"{name} is in another file, which is no part of a bundle")
    elif tensor.data_type in WHOLE:
        return
    else:
        try:
            finite = np.isfinite(_numbers(tensor)).all()
        except ValueError as error:  # of numpy: no whole number of them
            raise ValueError(f"{name}: {error}") from None
        if not finite:
            raise ValueError(f"{name} holds numbers that are not finite")


def _numbers(tensor: Any) -> NDArray[Any]:
    raw, words = tensor.raw_data, np.array(tensor.int32_data, np.int64)
    if tensor.data_type == FLOAT:
        return np.frombuffer(raw, "<f4") if raw else np.array(tensor.float_data, np.float32)
    if tensor.data_type == DOUBLE:
        return np.frombuffer(raw, "<f8") if raw else np.array(tensor.double_data, np.float64)
    if tensor.data_type in (FLOAT16, BFLOAT16):
        halves = np.frombuffer(raw, "<u2") if raw else words.astype(np.uint16)
        if tensor.data_type == FLOAT16:
            return halves.astype("<u2").view("<f2")
        return (halves.astype(np.uint32) << 16).view(np.float32)
    raise ValueError(f"numbers of ONNX's type {tensor.data_type}, which no bundle has")


def _all_within(message: Message) -> Iterator[Any]:
    waiting = [message]
    while waiting:
        each = waiting.pop()
        yield each
        for field, value in each.ListFields():
            if field.message_type is not None:
                waiting += [value] if isinstance(value, Message) else value


def _message_type() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="neucodex/onnx_numbers.proto", package="neucodex.onnx")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, label, kind, of in fields:
            type_name = f".neucodex.onnx.{of}" if of else None
            message.field.add(name=field, number=number, label=label, type=kind, type_name=type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("neucodex.onnx.Model"))


_MODEL = _message_type()
