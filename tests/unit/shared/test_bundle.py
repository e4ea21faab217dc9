import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shared.bundle import MANIFEST, Bundle
from shared.bundle_writer import write_bundle, write_codec, write_graphs, write_local_exit
from shared.errors import BundleError, ConfigError
from shared.execution import EXECUTIONS
from shared.exit_policy import ExitPolicy
from shared.manifest import LocalExitSpec
from shared.messages import Codec
from shared.models.load import export_weights, load_cloud, load_edge
from shared.network_spec import BottleneckSpec
from shared.spike_codec import CodecTables, SpikeCodec
from tests.support.bundles import make_bundle, retuned
from tests.support.codec_tables import make_tables

Arrays = dict[str, np.ndarray[Any, Any]]
Change = Callable[[Arrays], Arrays]


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
    manifest["executions"]["spiking"]["exit_policy"]["threshold"] = 0.123
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert Bundle.open(folder).fingerprint != before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format": "zip"}, "neucodex-bundle"),
        ({"version": 99}, "99"),
        ({"class_names": ["one"]}, "classes"),
        ({"normalisation": {"scale": 1.0, "mean": [0.0, 0.0], "std": [1.0]}}, "normalisation"),
        ({"frame_shape": [1, 2]}, "frame_shape"),
        ({"files": {}}, r"files\.head"),
        ({"files": {"head": {"sha256": "0"}, "tail": {}}}, r"files\.tail"),
        ({"default_execution": "float"}, "default_execution"),
        ({"executions": {}}, "default_execution"),
        ({"executions": 1}, "executions"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_manifest_is_refused(folder: Path, change: dict[str, object], named: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | change))
    with pytest.raises(BundleError, match=named):
        Bundle.open(folder)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"exit_policy": {"measure": "max_probability", "threshold": 2.0}}, "threshold"),
        ({"readout_leak": 1.5}, "readout_leak"),
        ({"readout_leak": -0.1}, "readout_leak"),
        ({"head_levels": 0}, "head_levels"),
        ({"tail_levels": 256}, "tail_levels"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_execution_is_refused(folder: Path, execution: str, change: dict[str, object], named: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["executions"][execution] |= change
    (folder / MANIFEST).write_text(json.dumps(manifest))
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


def test_without_codec_tables_frames_are_packed_bits(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert bundle.codec_arrays() is None
    codec = SpikeCodec.of(bundle)
    frame = np.ones(bundle.manifest.frame_shape, np.uint8)
    assert codec.encode(frame) == (Codec.PACKED_BITS, np.packbits(frame).tobytes())


def test_codec_tables_are_part_of_the_bundle_and_of_its_fingerprint(folder: Path) -> None:
    before = Bundle.open(folder)
    shape = before.manifest.frame_shape
    tables = make_tables(shape, dictionary=b"spikes" * 100)
    after = write_codec(before, tables.arrays())
    assert after.manifest == before.manifest
    assert after.fingerprint != before.fingerprint
    arrays = after.codec_arrays()
    assert arrays is not None
    read = CodecTables.from_arrays(arrays, shape)
    assert read.dictionary == tables.dictionary
    assert read.model is not None
    for name, values in tables.arrays().items():
        assert np.array_equal(arrays[name], values), name
    others = write_codec(after, make_tables(shape, seed=1).arrays())
    assert len({before.fingerprint, after.fingerprint, others.fingerprint}) == 3
    assert not list(folder.glob("*.partial"))
    load_edge(others)
    load_cloud(others)


def test_other_codec_tables_than_the_manifests_are_refused(folder: Path) -> None:
    bundle = write_codec(Bundle.open(folder), make_tables(Bundle.open(folder).manifest.frame_shape).arrays())
    file = folder / "codec-spiking.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(BundleError, match=r"codec-spiking\.safetensors"):
        SpikeCodec.of(bundle)
    file.unlink()
    with pytest.raises(BundleError, match=r"codec-spiking\.safetensors"):
        SpikeCodec.of(Bundle.open(folder))


def test_graphs_are_part_of_the_bundle_and_of_its_fingerprint(folder: Path, tmp_path: Path) -> None:
    before = Bundle.open(folder)
    assert not before.has("head-step")
    assert before.graph("head-step") is None
    after = write_graphs(before, {"head-embed": b"embed", "head-step": b"step"})
    assert after.manifest == before.manifest
    assert after.fingerprint != before.fingerprint
    assert (after.graph("head-embed"), after.graph("head-step")) == (b"embed", b"step")
    assert after.graph("head-step-int8") is None
    assert after.files["tail"] == before.files["tail"]
    (folder / "head-step.onnx").write_bytes(b"another")
    with pytest.raises(BundleError, match=r"head-step\.onnx is not the file"):
        after.graph("head-step")
    # What was derived from other weights goes with them.
    replaced = write_bundle(folder, after.manifest, after.weights("head"), after.weights("tail"))
    assert replaced.fingerprint == before.fingerprint
    assert not list(folder.glob("*.onnx"))


def test_a_bundle_is_seen_through_one_of_its_executions(folder: Path) -> None:
    spiking = Bundle.open(folder)
    rate = Bundle.open(folder, "rate")
    assert (spiking.execution, rate.execution) == ("spiking", "rate")
    assert rate == spiking.run_as("rate")
    assert rate.run_as("spiking") == spiking
    hot = retuned(rate, temperature=3.0)
    assert (hot.execution, hot.settings.temperature) == ("rate", 3.0)
    assert hot.run_as("spiking").settings == spiking.settings


def test_an_execution_that_a_bundle_has_not_is_said_with_what_gives_it(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path, bottleneck=None)
    for ask in (lambda: plain.run_as("rate"), lambda: Bundle.open(tmp_path, "rate")):
        with pytest.raises(ConfigError, match=f"neucodex-train executions --bundle {tmp_path}`.*--execution") as said:
            ask()
        assert f"bundle {tmp_path} has no execution 'rate', only spiking" in str(said.value)


def test_each_execution_has_its_own_tables_and_its_own_local_exit(folder: Path) -> None:
    shape = Bundle.open(folder).manifest.frame_shape
    for seed, execution in enumerate(EXECUTIONS):
        written = write_codec(Bundle.open(folder, execution), make_tables(shape, seed=seed).arrays())
        assert written.execution == execution
    for execution in EXECUTIONS:
        bundle = Bundle.open(folder, execution)
        spec = LocalExitSpec((2, 2), 0.5, ExitPolicy("margin", 0.1 if execution == "rate" else 0.2))
        weights = {"readout.bias": np.full(3, 0.5 if execution == "rate" else 0.25, np.float32)}
        written = write_local_exit(bundle, spec, weights, {"seconds": len(execution)})
        assert written.execution == execution
    for seed, execution in enumerate(EXECUTIONS):
        bundle = Bundle.open(folder, execution)
        arrays, weights = bundle.codec_arrays(), bundle.local_exit_weights()
        assert arrays is not None
        assert weights is not None
        for name, values in make_tables(shape, seed=seed).arrays().items():
            assert np.array_equal(arrays[name], values), name
        assert weights["readout.bias"].tolist() == [0.5 if execution == "rate" else 0.25] * 3
        assert bundle.settings.local_exit is not None
        assert bundle.settings.local_exit.exit_policy.threshold == (0.1 if execution == "rate" else 0.2)
        assert bundle.settings.measured == {"local_exit": {"seconds": len(execution)}}
        assert bundle.files[bundle.own("codec")].name == f"codec-{execution}.safetensors"
        assert bundle.files[bundle.own("exit")].name == f"exit-{execution}.safetensors"


def _without(name: str) -> Change:
    return lambda arrays: {key: values for key, values in arrays.items() if key != name}


def _with(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda arrays: {**arrays, name: change(arrays[name])}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_without("model.past"), "model.past"),
        (lambda arrays: {**arrays, "model.surprise": np.zeros(1)}, "model.surprise"),
        (_with("model.base", lambda base: base.astype(np.int16)), "model.base"),
        (_with("model.base", lambda base: base[:-1]), "pasts"),
        (_with("model.base", lambda base: base[:, :, :3]), "model.base"),
        (_with("model.chances", lambda chances: chances * 0), "chances"),
        (_with("model.chances", lambda chances: chances + (1 << 24)), "chances"),
        (_with("model.group", lambda group: group[1:]), "model.group"),
        (_with("model.first", lambda first: first[..., :2]), "model.first"),
        (_with("model.later", lambda later: later[:, :1]), "model.later"),
        (lambda arrays: {**arrays, "zstd.dictionary": np.zeros(0, np.uint8)}, "dictionary"),
    ],
)
def test_codec_tables_that_do_not_fit_are_refused(folder: Path, change: Change, named: str) -> None:
    bundle = Bundle.open(folder)
    arrays = make_tables(bundle.manifest.frame_shape).arrays()
    broken = write_codec(bundle, change(arrays))
    with pytest.raises(BundleError, match=named):
        SpikeCodec.of(broken)


def test_numbers_beyond_float16_keep_their_value(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    head = {name: np.asarray(value, np.float32) for name, value in bundle.weights("head").items()}
    name = next(name for name in head if name.endswith("running_var"))
    head[name] = np.full_like(head[name], 121167.0)
    written = write_bundle(tmp_path / "large", bundle.manifest, head, bundle.weights("tail"))
    stored = written.weights("head")
    assert stored[name].dtype == np.float32
    assert (stored[name] == 121167.0).all()
    assert {value.dtype for other, value in stored.items() if other != name} == {np.dtype(np.float16)}
