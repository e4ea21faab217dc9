"""Every execution of a bundle that exists, calibrated, measured and equipped from its weights alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_client.heads.factory import open_head
from edge_client.heads.local_exit import open_local_exit
from shared.bundle import Bundle
from shared.bundle_writer import write_parts
from shared.execution import Execution
from shared.exit_policy import ExitPolicy
from shared.manifest import EXTRAS
from shared.network_spec import BottleneckSpec, InputKind
from shared.spike_codec import SpikeCodec
from tests.support.bundles import make_bundle, random_samples
from tests.support.trained import trained
from training.collect_spikes import bundle_spikes
from training.commands.executions import add_executions, equip
from training.data import Samples, TrainingData
from training.device import Machine
from training.execute import execute_bundle

HERE = Machine(torch.device("cpu"), bfloat16=False)
SAMPLES = 40
KINDS: tuple[InputKind, ...] = ("static", "events")


def answers(bundle: Bundle, samples: NDArray[np.uint8]) -> NDArray[np.int64]:
    """At full T."""
    return np.asarray(trained(bundle, samples).confidences[-1].argmax(-1))


def data_that(bundle: Bundle) -> TrainingData:
    """Random samples labelled with what the bundle's execution answers, so that it is right about all of them."""
    manifest = bundle.manifest
    parts = []
    for seed in range(3):
        frames = random_samples(manifest.network, SAMPLES, seed)
        parts.append(Samples(torch.from_numpy(frames), torch.from_numpy(answers(bundle, frames))))
    return TrainingData(*parts, manifest.class_names, manifest.normalisation, simulated=False)


class Calibrated(NamedTuple):
    """A bundle with both executions calibrated, and its data, labelled with what `spiking` answers."""

    bundle: Bundle
    data: TrainingData

    def copy(self, path: Path) -> Bundle:
        """The same bundle in a folder of its own, to be changed."""
        shutil.copytree(self.bundle.path, path)
        return Bundle.open(path)


@pytest.fixture(scope="module", params=KINDS)
def calibrated(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Calibrated:
    bundle = make_bundle(
        tmp_path_factory.mktemp("calibrated") / "bundle",
        input_shape=(2, 16, 16),
        input_kind=request.param,
        bottleneck=BottleneckSpec(2, 2),
    )
    data = data_that(bundle)
    old = write_parts(bundle, bundle.manifest, {"codec-spiking": b"old tables", "head-step": b"old graph"})
    return Calibrated(add_executions(old, data, HERE, budget=0.5), data)


@pytest.fixture
def short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and exits after a few steps: what they are good for is not looked at here."""
    monkeypatch.setattr("training.codec_fit.STEPS", 30)
    monkeypatch.setattr("training.codec_fit.LEAST_STEPS", 30)
    monkeypatch.setattr("training.local_exit.EPOCHS", (2, 2))


def assert_the_better_is_the_default(written: Bundle, right: Execution) -> None:
    held_out = {name: spec.measured["calibration"] for name, spec in written.manifest.executions.items()}
    merit = {name: (found["accuracy"], -found["mean_timesteps"]) for name, found in held_out.items()}
    assert written.manifest.default_execution == max(merit, key=merit.__getitem__)
    assert held_out[right]["full_accuracy"] == max(found["full_accuracy"] for found in held_out.values())


def test_the_execution_that_is_right_more_often_is_the_default(calibrated: Calibrated, tmp_path: Path) -> None:
    assert_the_better_is_the_default(calibrated.bundle, "spiking")
    bundle = calibrated.copy(tmp_path / "bundle")
    written = add_executions(bundle.run_as("spiking"), data_that(bundle.run_as("rate")), HERE, budget=0.5)
    assert written.execution == written.manifest.default_execution
    assert_the_better_is_the_default(written, "rate")


def test_what_is_measured_is_what_the_pair_will_run(calibrated: Calibrated) -> None:
    written, data = calibrated
    assert written.manifest.executions.keys() == {"spiking", "rate"}
    test = data.test.frames.numpy()
    for execution in written.manifest.executions:
        view = Bundle.open(written.path, execution)
        measured = view.settings.measured
        given = trained(view, test)
        right = (given.confidences.argmax(-1) == data.test.labels.numpy()).mean(1)
        assert measured["test"]["accuracy_by_timestep"] == pytest.approx(right.tolist())
        assert measured["test"]["frame"]["density"] == pytest.approx(given.frames.mean(), rel=0.05)
        assert measured["calibration"]["budget"] == 0.5
        assert view.settings.temperature > 0
    spiking, rate = (Bundle.open(written.path, name) for name in ("spiking", "rate"))
    assert spiking.settings.measured["test"]["accuracy_by_timestep"][-1] == 1.0 or spiking.settings.readout_leak < 1.0
    assert rate.settings.readout_leak == 1.0
    assert rate.has("head-rate")
    assert type(execute_bundle(rate)).__name__ == "OnnxRate"


@pytest.mark.usefixtures("short_fits")
def test_what_was_fitted_before_is_gone_until_it_is_fitted_again(calibrated: Calibrated, tmp_path: Path) -> None:
    written, data = calibrated.copy(tmp_path / "bundle"), calibrated.data
    assert not written.has("codec-spiking")
    assert not written.has("head-step")
    assert not (written.path / "codec-spiking.safetensors").exists()
    equipped = equip(written, data, ("onnx",))
    assert equipped.execution == equipped.manifest.default_execution
    assert equipped.has("head-step")
    samples = data.test.frames.numpy()
    for execution in equipped.manifest.executions:
        view = equipped.run_as(execution)
        assert view.has(view.own("codec"))
        assert open_local_exit(view) is not None
        assert view.settings.measured["local_exit"]["test"]["samples"] == SAMPLES
        spikes = bundle_spikes(view, samples)
        codec, head = SpikeCodec.of(view), open_head(view, "torch" if execution == "spiking" else "auto")
        run, past = head.start(samples[0]), None
        for frame in spikes[0]:
            np.testing.assert_array_equal(run.step(), frame)
            chosen, raw = codec.encode(frame, past)
            np.testing.assert_array_equal(codec.decode(chosen, raw, past), frame)
            past = codec.next_context(past, frame)


@pytest.mark.usefixtures("short_fits")
def test_a_bundle_that_can_only_step_gets_that_alone(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, bottleneck=None)
    data = data_that(bundle)
    written = equip(add_executions(bundle, data, HERE, budget=0.5), data, ("onnx",))
    assert list(written.manifest.executions) == ["spiking"]
    assert {part for part in EXTRAS if written.has(part)} == {"head-embed", "head-step", "tail-step"}


def test_the_budget_and_measure_of_before_are_kept(calibrated: Calibrated, tmp_path: Path) -> None:
    first = calibrated.bundle
    again = add_executions(calibrated.copy(tmp_path / "bundle"), calibrated.data, HERE)
    assert again.manifest == first.manifest
    assert again.fingerprint == first.fingerprint
    assert isinstance(again.settings.exit_policy, ExitPolicy)


def test_beside_an_uncompressed_network_it_is_read_in_the_same_ways(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain", bottleneck=None)
    bundle = make_bundle(tmp_path / "bundle")
    written = add_executions(bundle, data_that(plain), HERE, budget=0.5, uncompressed=plain)
    readings = {
        name: spec.measured["test"]["uncompressed_accuracy_by_timestep"]
        for name, spec in written.manifest.executions.items()
    }
    assert len(readings["rate"]) == 1, "one pass, without timesteps"
    assert len(readings["spiking"]) == 4
    assert readings["spiking"][-1] > 0.5, "these are its own answers, but for the leak that was fitted"
