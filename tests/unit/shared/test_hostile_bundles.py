"""Bundles that were made to do harm, or only damaged: each is refused in one line, before anything is allocated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from edge_client.heads.factory import open_head
from edge_client.heads.local_exit import open_local_exit
from shared.bundle import MANIFEST, MANIFEST_LIMIT, Bundle
from shared.errors import BundleError, ConfigError
from shared.models.load import load_cloud, load_edge
from shared.network_spec import BottleneckSpec
from shared.spike_codec import SpikeCodec
from tests.support.bundles import make_bundle
from tests.support.hostile import edit, edit_weights, nest

Path_ = tuple[Any, ...]

ODD = (None, True, -1, 0, 10**9, 10**30, 1.5, -0.0, 1e999, float("nan"), "", "x", "\ud800", [], [1e999], {}, [[[[]]]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", bottleneck=BottleneckSpec(2, 2)).path


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("network", "timesteps"), 10**9, "timesteps"),
        (("network", "timesteps"), 10**30, "timesteps"),
        (("network", "classes"), 10**9, "classes"),
        (("network", "width"), 10**6, "width"),
        (("network", "blocks"), [10**6, 2, 2, 2], "blocks"),
        (("network", "input_shape"), [1, 10**6, 10**6], "input_shape"),
        (("network", "input_shape"), [1, 64, 64], "split_shape"),
        (("network", "bottleneck", "channels"), 10**9, r"bottleneck\.channels"),
        (("network", "neuron", "threshold"), 1e999, r"neuron\.threshold"),
        (("network", "neuron", "initial_membrane"), -1e999, r"neuron\.initial_membrane"),
        (("frame_shape",), [10**6, 10**6, 10**6], "frame_shape"),
        (("split_shape",), [0, 0, 0], "split_shape"),
        (("normalisation", "std"), [0.0], r"normalisation\.std"),
        (("normalisation", "std"), [-1.0], r"normalisation\.std"),
        (("normalisation", "mean"), [float("nan")], r"normalisation\.mean"),
        (("normalisation", "scale"), 1e999, r"normalisation\.scale"),
        (("normalisation", "scale"), 1e300, r"normalisation\.scale"),
        (("executions", "rate", "temperature"), 1e999, "temperature"),
        (("executions", "rate", "temperature"), 1e-300, "temperature"),
        (("executions", "spiking", "temperature"), float("nan"), "temperature"),
        (("executions", "spiking", "exit_policy", "threshold"), float("nan"), "threshold"),
        (("class_names",), ["\ud800"] * 10, "class_names"),
        (("name",), "\ud800", "name"),
    ],
)
def test_absurd_values_are_refused_by_name(folder: Path, path: Path_, value: Any, named: str) -> None:
    edit(folder, *path, value=value)
    with pytest.raises(BundleError, match=named):
        Bundle.open(folder)


@pytest.mark.parametrize("depth", [900, 5_000, 200_000])
@pytest.mark.parametrize("field", ["provenance", "surprise"])
def test_deep_json_is_no_traceback(folder: Path, depth: int, field: str) -> None:
    nest(folder, depth, field)
    with pytest.raises(BundleError):
        Bundle.open(folder)


def test_an_endless_manifest_is_not_read_to_its_end(folder: Path) -> None:
    with (folder / MANIFEST).open("ab") as file:
        file.truncate(MANIFEST_LIMIT + 1)
    with pytest.raises(BundleError, match="longer than"):
        Bundle.open(folder)


def leaves(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    yield path


def test_no_value_of_a_manifest_is_a_traceback(folder: Path) -> None:
    """Each field with each odd value: it opens and can be used, or it is refused."""
    whole = (folder / MANIFEST).read_text()
    refused = 0
    for path in leaves(json.loads(whole)):
        for value in ODD:
            if not path:
                continue
            edit(folder, *path, value=value)
            try:
                bundle = Bundle.open(folder)
                SpikeCodec.of(bundle)
                open_local_exit(bundle)
            except (BundleError, ConfigError):
                refused += 1
            (folder / MANIFEST).write_text(whole)
    assert refused > 400


@pytest.mark.parametrize(
    ("kind", "number"),
    [(np.float16, np.nan), (np.float16, np.inf), (np.float32, np.nan), (np.float64, -np.inf), (np.float64, 1e300)],
)
def test_weights_that_are_no_numbers_are_refused(folder: Path, kind: type, number: float) -> None:
    for half, load in (("head", load_edge), ("tail", load_cloud)):
        name, weight = max(load_file(folder / f"{half}.safetensors").items())
        weight = weight.astype(kind)
        weight.flat[-1] = number
        edit_weights(folder, half, name, weight)
        with pytest.raises(BundleError, match=f"{name} holds numbers that are not finite"):
            load(Bundle.open(folder))
    with pytest.raises(BundleError, match="not finite"):
        open_head(Bundle.open(folder), "torch")


def test_weights_of_another_shape_are_refused_before_the_network_is_built(folder: Path) -> None:
    """Width 4096 would take 38 GB."""
    edit(folder, "network", "width", value=4096)
    edit(folder, "split_shape", value=[4096, 16, 16])
    bundle = Bundle.open(folder)
    for load in (load_edge, load_cloud):
        with pytest.raises(BundleError, match=r"does not fit its manifest's network: .* it must be"):
            load(bundle)


@pytest.mark.parametrize("raw", [b"", b"\xff" * 64, b"\x08\x00\x00\x00\x00\x00\x00\x00[[[[[[[["])
def test_a_file_that_holds_no_tensors_is_refused(folder: Path, raw: bytes) -> None:
    (folder / "tail.safetensors").write_bytes(raw)
    edit(folder, "files", "tail", "sha256", value=sha256(raw).hexdigest())
    with pytest.raises(BundleError, match=r"tail\.safetensors is no safetensors file"):
        load_cloud(Bundle.open(folder))
