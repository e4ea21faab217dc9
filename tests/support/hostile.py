"""Bundles that were made to do harm, or only damaged: a whole bundle with one thing changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from shared.bundle import MANIFEST, VARIANCE


def edit(folder: Path, *path: Any, value: Any) -> None:
    """Set a value of the manifest."""
    manifest = json.loads((folder / MANIFEST).read_text())
    place = manifest
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (folder / MANIFEST).write_text(json.dumps(manifest))


def edit_weights(folder: Path, half: str, name: str, value: NDArray[Any]) -> None:
    """Set a tensor, of which the manifest knows."""
    file = folder / f"{half}.safetensors"
    save_file({**load_file(file), name: value}, file)
    edit(folder, "files", half, "sha256", value=sha256(file.read_bytes()).hexdigest())


def nest(folder: Path, depth: int, field: str = "provenance") -> None:
    """Nest a field that deep."""
    raw = (folder / MANIFEST).read_text().rstrip().removesuffix("}")
    (folder / MANIFEST).write_text(f'{raw}, "{field}": {"[" * depth}{"]" * depth}}}')


def replace_file(folder: Path, part: str, raw: bytes) -> None:
    """Another file for a part, of which the manifest knows."""
    (file,) = folder.glob(f"{part}.*")
    file.write_bytes(raw)
    edit(folder, "files", part, "sha256", value=sha256(raw).hexdigest())


def unsound(folder: Path) -> None:
    """Weights that are no numbers, in both halves."""
    for half in ("head", "tail"):
        name, weight = max(load_file(folder / f"{half}.safetensors").items())
        edit_weights(folder, half, name, np.full_like(weight, np.nan))


def below_zero(folder: Path) -> None:
    """Variances that have no root, in both halves."""
    for half in ("head", "tail"):
        weights = load_file(folder / f"{half}.safetensors")
        name = next(name for name in weights if name.endswith(VARIANCE))
        edit_weights(folder, half, name, -np.abs(weights[name]) - 1)


def twice(folder: Path) -> None:
    """A field that is there twice."""
    raw = (folder / MANIFEST).read_text().rstrip().removesuffix("}")
    (folder / MANIFEST).write_text(f'{raw}, "name": "another"}}')


def endless(folder: Path) -> None:
    """Links out of the bundle, to what has no end."""
    for half in ("head", "tail"):
        (folder / f"{half}.safetensors").unlink()
        (folder / f"{half}.safetensors").symlink_to("/dev/zero")


def long_header(folder: Path) -> None:
    """Halves that promise a header of exabytes."""
    for half in ("head", "tail"):
        replace_file(folder, half, b"\xff" * 7 + b"\x7f" + b"{}")


CHANGES: Mapping[str, Callable[[Path], None]] = {
    "manifest.json is": lambda folder: nest(folder, 200_000),
    "timesteps is 1000000000": lambda folder: edit(folder, "network", "timesteps", value=10**9),
    "classes is 1000000": lambda folder: edit(folder, "network", "classes", value=10**6),
    "names 100000 classes": lambda folder: edit(folder, "class_names", value=[f"c{n}" for n in range(10**5)]),
    "frame_shape is (1000000": lambda folder: edit(folder, "frame_shape", value=[10**6, 10**6, 10**6]),
    "temperature is inf": lambda folder: edit(folder, "executions", "spiking", "temperature", value=1e999),
    "normalisation.std is (0.0,)": lambda folder: edit(folder, "normalisation", "std", value=[0.0]),
    "normalisation.mean is (nan,)": lambda folder: edit(folder, "normalisation", "mean", value=[float("nan")]),
    "a field is there twice: name": twice,
    "not finite": unsound,
    "is a variance, and below 0": below_zero,
    "(it is no file)": endless,
    "is no safetensors file": long_header,
}
"""Each with what is said of it."""


def change_graphs(folder: Path, change: Callable[[onnx.TensorProto], None]) -> None:
    """Change a weight of each graph."""
    for file in folder.glob("*.onnx"):
        model = onnx.load(file, load_external_data=False)
        change(next(tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT))
        replace_file(folder, file.stem, model.SerializeToString())


def _not_finite(tensor: onnx.TensorProto) -> None:
    values = np.full(tensor.dims, np.inf, np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _elsewhere(tensor: onnx.TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.name = "stolen"
    tensor.external_data.add(key="location", value="../../../etc/passwd")


GRAPH_CHANGES: Mapping[str, Callable[[Path], None]] = {
    "holds numbers that are not finite": lambda folder: change_graphs(folder, _not_finite),
    "stolen is in another file": lambda folder: change_graphs(folder, _elsewhere),
}
"""The same of a bundle that has graphs."""
