"""Numbers that are not finite are found wherever an ONNX graph may have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from shared.onnx_weights import check_numbers

MODELS = Path(__file__).parents[3] / "models"


def model(*nodes: onnx.NodeProto, initializer: list[TensorProto] | None = None) -> ModelProto:
    graph = helper.make_graph(list(nodes), "g", [], [], initializer=initializer or [])
    return helper.make_model(graph)


def weight(kind: int, values: list[float], *, raw: bool) -> TensorProto:
    if raw:
        return numpy_helper.from_array(np.array(values, helper.tensor_dtype_to_np_dtype(kind)), "w")
    return helper.make_tensor("w", kind, [len(values)], values)


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/*.onnx")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_graphs_that_ship_are_sound(path: Path) -> None:
    outside = [
        tensor.name
        for tensor in onnx.load(path, load_external_data=False).graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    ]
    check_numbers(path.read_bytes(), outside)
    assert bool(outside) == (path.stem == "tail-step")
    if outside:
        with pytest.raises(ValueError, match="is in another file"):
            check_numbers(path.read_bytes(), outside[1:])


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_an_initialiser_in_each_form(kind: int, raw: bool, number: float) -> None:
    check_numbers(model(initializer=[weight(kind, [0.0, 65504.0, -1e-7], raw=raw)]).SerializeToString())
    unsound = model(initializer=[weight(kind, [0.0, 1.0, number], raw=raw)])
    with pytest.raises(ValueError, match="w holds numbers that are not finite"):
        check_numbers(unsound.SerializeToString())


def constant(**value: object) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], **value)


NAN = weight(TensorProto.FLOAT, [float("nan")], raw=True)
PLACES: dict[str, Callable[[], ModelProto]] = {
    "a constant's tensor": lambda: model(constant(value=NAN)),
    "a constant's number": lambda: model(constant(value_float=float("nan"))),
    "a constant's numbers": lambda: model(constant(value_floats=[1.0, float("inf")])),
    "a graph within a node": lambda: model(
        helper.make_node("If", ["a"], ["b"], then_branch=helper.make_graph([], "t", [], [], initializer=[NAN]))
    ),
    "a function": lambda: helper.make_model(
        helper.make_graph([], "g", [], []),
        functions=[helper.make_function("d", "f", [], ["c"], [constant(value=NAN)], [])],
    ),
    "a sparse initialiser": lambda: helper.make_model(
        helper.make_graph(
            [],
            "g",
            [],
            [],
            sparse_initializer=[
                helper.make_sparse_tensor(NAN, helper.make_tensor("i", TensorProto.INT64, [1], [0]), [9])
            ],
        )
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_in_every_place(place: str) -> None:
    with pytest.raises(ValueError, match="not finite"):
        check_numbers(PLACES[place]().SerializeToString())


def test_a_file_elsewhere_is_refused() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    raw = model(initializer=[tensor]).SerializeToString()
    with pytest.raises(ValueError, match="w is in another file"):
        check_numbers(raw)
    check_numbers(raw, ["w"])


def test_a_kind_that_no_bundle_has_is_refused() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT8E4M3FN, dims=[1], raw_data=b"\x7f")
    with pytest.raises(ValueError, match="type 17, which no bundle has"):
        check_numbers(model(initializer=[tensor]).SerializeToString())
    words = TensorProto(name="w", data_type=TensorProto.INT64, dims=[1], raw_data=b"\xff" * 8)
    check_numbers(model(initializer=[words]).SerializeToString())


def test_what_is_no_graph_is_refused() -> None:
    for raw in (b"\x00", b"no graph at all", b"\x3a\xff\xff\xff\xff\x0f"):
        with pytest.raises(ValueError, match="no ONNX graph"):
            check_numbers(raw)


def test_numbers_cut_in_half_are_refused() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], raw_data=b"\x00\x00\x00")
    with pytest.raises(ValueError, match="w: "):
        check_numbers(model(initializer=[tensor]).SerializeToString())
