"""Manifests of the format before: read as what they said, and written anew in today's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.bundle import MANIFEST, Bundle
from shared.bundle_writer import write_codec, write_graphs, write_local_exit, write_parts
from shared.errors import BundleError, ConfigError
from shared.exit_policy import NEVER, ExitPolicy, Threshold
from shared.manifest import ExecutionSpec, LocalExitSpec
from shared.models.load import load_network
from shared.network_spec import BottleneckSpec
from shared.spike_codec import SpikeCodec
from tests.support.bundles import make_bundle
from tests.support.codec_tables import make_tables

Values = dict[str, Any]

SPEC = LocalExitSpec((2, 2), 0.7, ExitPolicy("margin", 0.4))
WEIGHTS = {"readout.weight": np.ones((2, 3), np.float32)}
MEASURED = {"calibration": {"budget": 0.01}, "test": {"samples": 7}, "int8": {"written": True}}


def as_version_1(bundle: Bundle) -> Path:
    """Make the bundle's folder one that the release before wrote, of its `spiking` execution."""
    values: Values = json.loads((bundle.path / MANIFEST).read_text())
    settings: Values = values.pop("executions")["spiking"]
    del values["default_execution"]
    measured: Values = settings.pop("measured")
    for added in ("readout_leak", "head_levels", "tail_levels"):
        del settings[added]
    files: Values = values["files"]
    for part in ("codec", "exit"):
        if f"{part}-spiking" in files:
            files[part] = files.pop(f"{part}-spiking")
            (bundle.path / f"{part}-spiking.safetensors").rename(bundle.path / f"{part}.safetensors")
    values.update(settings, version=1, provenance={**values["provenance"], **measured})
    (bundle.path / MANIFEST).write_text(json.dumps(values))
    return bundle.path


@pytest.fixture
def plain(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle", bottleneck=BottleneckSpec(2, 2))


@pytest.fixture
def full(plain: Bundle) -> Bundle:
    """With tables, a local exit, and everything measured."""
    bundle = write_codec(plain, make_tables(plain.manifest.frame_shape).arrays())
    return write_graphs(write_local_exit(bundle, SPEC, WEIGHTS, {"seconds": 3}), {"head-embed": b"graph"}, MEASURED)


def test_version_1_is_read_as_spiking_alone(full: Bundle) -> None:
    path = as_version_1(full)
    bundle = Bundle.open(path)
    assert bundle.fingerprint == hashlib.sha256((path / MANIFEST).read_bytes()).digest()
    manifest = bundle.manifest
    assert (bundle.execution, manifest.default_execution) == ("spiking", "spiking")
    assert manifest.executions == {
        "spiking": ExecutionSpec(
            temperature=1.0,
            exit_policy=ExitPolicy("max_probability", 0.9),
            readout_leak=1.0,
            local_exit=SPEC,
            measured={**MEASURED, "local_exit": {"seconds": 3}},
        )
    }
    assert manifest.provenance == {"data_set": "none", "seed": 0}, "what was measured is no provenance"
    assert {part: stored.name for part, stored in bundle.files.items()} == {
        "head": "head.safetensors",
        "tail": "tail.safetensors",
        "codec-spiking": "codec.safetensors",
        "exit-spiking": "exit.safetensors",
        "head-embed": "head-embed.onnx",
    }
    assert bundle.codec_arrays() is not None
    assert bundle.local_exit_weights() is not None
    assert bundle.graph("head-embed") == b"graph"
    assert SpikeCodec.of(bundle).encode(np.ones(manifest.frame_shape, np.uint8))
    load_network(bundle)


def test_version_1_has_no_other_execution(plain: Bundle) -> None:
    path = as_version_1(plain)
    with pytest.raises(ConfigError, match=rf"bundle {path} has no execution 'rate', only spiking: .*--bundle {path}"):
        Bundle.open(path, "rate")
    assert Bundle.open(path).settings.local_exit is None
    assert Bundle.open(path).settings.measured == {}


def test_version_1_is_rewritten_as_version_2_with_its_files_under_their_new_names(full: Bundle) -> None:
    path = as_version_1(full)
    old = Bundle.open(path)
    kept = {name: (path / name).read_bytes() for name in ("codec.safetensors", "exit.safetensors")}
    new = write_parts(old, old.manifest, {})
    assert json.loads((path / MANIFEST).read_text())["version"] == 2
    assert new.manifest == old.manifest
    assert new.fingerprint != old.fingerprint
    for part in ("codec", "exit"):
        assert (path / f"{part}-spiking.safetensors").read_bytes() == kept[f"{part}.safetensors"]
        assert not (path / f"{part}.safetensors").exists()
    assert new.files.keys() == old.files.keys()
    assert {new.files[part].sha256 == old.files[part].sha256 for part in old.files} == {True}
    assert sorted(file.name for file in path.iterdir()) == sorted(
        [MANIFEST, *(stored.name for stored in new.files.values())]
    )
    assert new.codec_arrays() is not None
    assert new.local_exit_weights() is not None


def test_tables_of_version_1_are_replaced_and_an_exit_is_removed(full: Bundle) -> None:
    path = as_version_1(full)
    tables = make_tables(full.manifest.frame_shape, seed=1).arrays()
    new = write_codec(Bundle.open(path), tables)
    arrays = new.codec_arrays()
    assert arrays is not None
    assert np.array_equal(arrays["model.base"], tables["model.base"])
    assert not (path / "codec.safetensors").exists()
    path = as_version_1(new)
    old = Bundle.open(path)
    without = ExecutionSpec(old.settings.temperature, old.settings.exit_policy)
    assert not write_parts(old, old.manifest.with_execution("spiking", without), {"exit-spiking": None}).has(
        "exit-spiking"
    )
    assert not (path / "exit.safetensors").exists()


def test_a_file_of_version_1_that_is_gone_is_named(full: Bundle) -> None:
    path = as_version_1(full)
    (path / "codec.safetensors").unlink()
    with pytest.raises(BundleError, match=r"cannot read codec\.safetensors"):
        Bundle.open(path).codec_arrays()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda values: values.pop("temperature"), "temperature"),
        (lambda values: values.pop("provenance"), "provenance"),
        (lambda values: values["files"].pop("tail"), r"files\.tail"),
        (lambda values: values["files"].pop("exit"), "one is there without the other"),
        (lambda values: values.update(temperature=-1.0), "temperature"),
        (lambda values: values.update(surprise=1), "surprise"),
        (lambda values: values.update(version=3), "version 3: this program reads versions 1 and 2"),
    ],
)
def test_a_wrong_manifest_of_version_1_is_refused(full: Bundle, change: Callable[[Values], None], named: str) -> None:
    path = as_version_1(full)
    values = json.loads((path / MANIFEST).read_text())
    change(values)
    (path / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(BundleError, match=named):
        Bundle.open(path)


PROMISED = {"calibration": {"promise": "with probability at least 0.9"}}
NOT_PROMISED = {"calibration": {"promise": None}}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("threshold", "measured", "read"),
    [
        (1.0, NOT_PROMISED, NEVER),
        (1.0, {}, NEVER),
        (1.0, PROMISED, 1.0),
        (0.9, NOT_PROMISED, 0.9),
        (NEVER, NOT_PROMISED, NEVER),
    ],
)
def test_a_threshold_of_1_that_nothing_certified_is_never(
    plain: Bundle, version: int, threshold: Threshold, measured: Values, read: Threshold
) -> None:
    policy = ExitPolicy("margin", threshold)
    settings = replace(plain.settings, exit_policy=policy, measured=measured)
    bundle = write_parts(plain, plain.manifest.with_execution("spiking", settings), {})
    bundle = write_local_exit(bundle, replace(SPEC, exit_policy=policy), WEIGHTS, measured)
    if version == 1:
        bundle = Bundle.open(as_version_1(bundle))
    assert bundle.settings.exit_policy == ExitPolicy("margin", read)
    assert bundle.settings.local_exit is not None
    assert bundle.settings.local_exit.exit_policy == ExitPolicy("margin", read)


def test_an_execution_that_a_network_cannot_have_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, bottleneck=None)
    with pytest.raises(BundleError, match=r"executions\.rate is not possible: it needs network\.bottleneck"):
        write_parts(bundle, bundle.manifest.with_execution("rate", bundle.settings), {})


def test_an_execution_that_this_version_does_not_know_is_refused(plain: Bundle) -> None:
    values = json.loads((plain.path / MANIFEST).read_text())
    values["executions"]["float"] = values["executions"]["rate"]
    (plain.path / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(BundleError, match=r"executions\.float is not known"):
        Bundle.open(plain.path)
