"""The data sets that the paper names, as they are: read, simulated, trained on for a few steps, and classified."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shared.bundle import Bundle
from shared.bundle_writer import write_bundle
from shared.datasets.cifar10 import CLASSES
from shared.network_spec import BottleneckSpec
from tests.support.bundles import make_bundle
from tests.support.processes import cloud_process
from tests.support.real_data import needs_data_sets, unpack
from tests.support.training_runs import environment

pytestmark = needs_data_sets

RECIPE = """
name = "{name}"

[data]
name = "{name}"
held_out = {held_out}
limit = {limit}
allow_partial = true

[network]
backbone = "{backbone}"
input_shape = {shape}
input_kind = "{kind}"
stem = "{stem}"
classes = {classes}
split = "{split}"
width = 8
bottleneck = {{ channels = 2, stride = 2 }}

[[stages]]
kind = "backbone"
neurons = "quantised"
epochs = 1
learning_rate = 0.02
batch_size = 10

[[stages]]
kind = "bottleneck"
epochs = 1
learning_rate = 0.02
batch_size = 10
distill = 1.0
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=environment(), capture_output=True, text=True, timeout=180, check=False
    )


def train(folder: Path, data: Path, name: str, **fields: object) -> Bundle:
    values = {"held_out": 10, "limit": 40, "stem": "cifar", "backbone": "resnet18", "split": "layer1", **fields}
    recipe = folder / f"{name}.toml"
    recipe.write_text(RECIPE.format(name=name, **values))
    paths = ["--runs", str(folder / "runs"), "--out", str(folder / "bundle"), "--data", str(data)]
    done = run("-m", "training", "all", "--recipe", str(recipe), "--threads", "1", *paths)
    assert done.returncode == 0, done.stderr
    return Bundle.open(folder / "bundle")


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("cifar10"), "cifar10")


def test_the_pair_classifies_cifar10_from_the_official_files(cifar10: Path, tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "made", input_shape=(3, 32, 32), bottleneck=BottleneckSpec(2, 2))
    manifest = replace(made.manifest, class_names=CLASSES)
    bundle = write_bundle(tmp_path / "bundle", manifest, made.weights("head"), made.weights("tail"))
    with cloud_process(tmp_path / "cloud", [bundle.path]) as cloud:
        pair = ["--insecure", "--bundle", str(bundle.path), "--cloud", cloud.listen]
        data = ["--dataset", "cifar10", "--data", str(cifar10), "--limit", "30", "--json"]
        done = run("-m", "edge_client", "classify", *pair, *data)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["summary"]["samples"] == 30
    assert [line["label"] for line in lines[:5]] == ["cat", "ship", "ship", "airplane", "frog"]
    assert {line["answered_by"] for line in lines[:-1]} == {"cloud"}


def test_the_codec_benchmark_takes_a_bundle_of_cifar10(cifar10: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", input_shape=(3, 32, 32), bottleneck=BottleneckSpec(2, 2))
    wanted = ["--bundle", str(bundle.path), "--dataset", "cifar10", "--data", str(cifar10), "--limit", "60"]
    done = run("-m", "benchmarks", "codec", "--quick", *wanted, "--out", str(tmp_path / "record"))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "record" / "record.json").read_text())
    assert record["n"]["positions"] == 2 * 16 * 16
    assert record["results"]["tables"] == "fitted here"
    assert record["results"]["bytes of a frame"]["mean"]["codec's choice"] < 64


def test_training_on_simulated_cifar10_dvs(cifar10: Path, tmp_path: Path) -> None:
    simulate = ["cifar10dvs-sim", "--data", str(cifar10), "--out", str(tmp_path), "--size", "32", "--timesteps", "4"]
    done = run("-m", "training", "data", "simulate", *simulate, "--per-class", "3")
    assert done.returncode == 0, done.stderr
    bundle = train(tmp_path, tmp_path, "cifar10dvs-sim", shape=[2, 32, 32], kind="events", classes=10)
    assert bundle.manifest.provenance["simulated_data"] is True
    assert {spec.measured["test"]["simulated"] for spec in bundle.manifest.executions.values()} == {True}


def test_training_on_caltech101(tmp_path: Path) -> None:
    data = unpack(tmp_path / "data", "caltech101")
    bundle = train(tmp_path, data, "caltech101", shape=[3, 64, 64], kind="static", classes=101, stem="imagenet")
    assert len(bundle.manifest.class_names) == 101
    assert "BACKGROUND_Google" not in bundle.manifest.class_names
    assert bundle.manifest.split_shape == (8, 16, 16)


def test_training_on_nmnist(tmp_path: Path) -> None:
    data = unpack(tmp_path / "data", "nmnist")
    fields = {"shape": [2, 34, 34], "kind": "events", "classes": 10, "backbone": "vgg16", "split": "block2"}
    bundle = train(tmp_path, data, "nmnist", **fields)
    assert bundle.manifest.provenance["simulated_data"] is False
    assert bundle.manifest.frame_shape == (2, 4, 4)
