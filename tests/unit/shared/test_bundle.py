import json
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.bundle import MANIFEST, Bundle, write_bundle
from shared.errors import BundleError
from shared.models.load import export_weights, load_cloud, load_edge
from shared.network_spec import BottleneckSpec
from tests.support.bundles import make_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", bottleneck=BottleneckSpec(2, 2)).path


def test_it_reads_back_what_was_written(folder: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(folder)
    again = write_bundle(tmp_path / "copy", bundle.manifest, bundle.weights("head"), bundle.weights("tail"))
    assert again.manifest == bundle.manifest
    assert again.fingerprint == bundle.fingerprint
    assert len(bundle.fingerprint) == 32


def test_weights_are_halved_on_disk_and_whole_in_the_network(folder: Path) -> None:
    bundle = Bundle.open(folder)
    stored = bundle.weights("head")
    assert {str(value.dtype) for value in stored.values()} == {"float16"}
    edge = load_edge(bundle)
    assert not edge.training
    assert all(parameter.dtype is torch.float32 for parameter in edge.parameters())
    for name, value in export_weights(edge).items():
        assert np.array_equal(value, stored[name].astype(np.float32)), name


def test_each_side_reads_only_its_own_file(folder: Path) -> None:
    bundle = Bundle.open(folder)
    (folder / "tail.safetensors").unlink()
    load_edge(bundle)
    with pytest.raises(BundleError, match=r"tail\.safetensors"):
        load_cloud(bundle)


@pytest.mark.parametrize("half", ["head", "tail"])
def test_damaged_weights_are_refused(folder: Path, half: str) -> None:
    file = folder / f"{half}.safetensors"
    raw = bytearray(file.read_bytes())
    for damaged in (raw[:-7], raw[: len(raw) // 2], bytes(len(raw)), b""):
        file.write_bytes(damaged)
        with pytest.raises(BundleError, match=file.name):
            Bundle.open(folder).weights(half)  # type: ignore[arg-type]


def test_weights_of_another_bundle_are_refused(folder: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", bottleneck=BottleneckSpec(2, 2), seed=1)
    (folder / "head.safetensors").write_bytes((other.path / "head.safetensors").read_bytes())
    with pytest.raises(BundleError, match="another bundle"):
        load_edge(Bundle.open(folder))


def test_any_change_changes_the_fingerprint(folder: Path) -> None:
    before = Bundle.open(folder).fingerprint
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["exit_policy"]["threshold"] = 0.123
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert Bundle.open(folder).fingerprint != before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format": "zip"}, "neucodex-bundle"),
        ({"version": 99}, "99"),
        ({"class_names": ["one"]}, "classes"),
        ({"normalisation": {"scale": 1.0, "mean": [0.0, 0.0], "std": [1.0]}}, "normalisation"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"exit_policy": {"measure": "max_probability", "threshold": 2.0}}, "threshold"),
        ({"frame_shape": [1, 2]}, "frame_shape"),
        ({"files": {}}, "files"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_manifest_is_refused(folder: Path, change: dict[str, object], named: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | change))
    with pytest.raises(BundleError, match=named):
        Bundle.open(folder)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_a_damaged_manifest_is_refused(folder: Path, raw: bytes) -> None:
    (folder / MANIFEST).write_bytes(raw)
    with pytest.raises(BundleError, match=MANIFEST):
        Bundle.open(folder)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle"):
        Bundle.open(tmp_path / "nowhere")


def test_weights_that_do_not_fit_the_network(folder: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(folder)
    lacking = dict(list(bundle.weights("head").items())[1:])
    broken = write_bundle(tmp_path / "broken", bundle.manifest, lacking, bundle.weights("tail"))
    with pytest.raises(BundleError, match="lacks"):
        load_edge(broken)
