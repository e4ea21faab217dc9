"""Bundles that were made to do harm, or only damaged: a whole bundle with one thing changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from shared.bundle import MANIFEST


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


def unsound(folder: Path) -> None:
    """Weights that are no numbers, in both halves."""
    for half in ("head", "tail"):
        name, weight = max(load_file(folder / f"{half}.safetensors").items())
        edit_weights(folder, half, name, np.full_like(weight, np.nan))


CHANGES: Mapping[str, Callable[[Path], None]] = {
    "manifest.json is": lambda folder: nest(folder, 200_000),
    "timesteps is 1000000000": lambda folder: edit(folder, "network", "timesteps", value=10**9),
    "frame_shape is (1000000": lambda folder: edit(folder, "frame_shape", value=[10**6, 10**6, 10**6]),
    "temperature is inf": lambda folder: edit(folder, "executions", "spiking", "temperature", value=1e999),
    "normalisation.std is (0.0,)": lambda folder: edit(folder, "normalisation", "std", value=[0.0]),
    "normalisation.mean is (nan,)": lambda folder: edit(folder, "normalisation", "mean", value=[float("nan")]),
    "not finite": unsound,
}
"""Each with what is said of it."""
