"""The training pipeline as a user runs it: real processes, real files, tiny networks."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from shared.bundle import Bundle
from shared.bundle_writer import write_parts
from shared.errors import ConfigError
from shared.execution import EXECUTIONS
from shared.manifest import EXTRAS
from tests.support.processes import wait_for
from tests.support.training_runs import command, environment, run

TINY = """
name = "tiny"
seed = 3

[data]
name = "digits"
held_out = 100
limit = 500

[network]
backbone = "resnet18"
input_shape = [1, 32, 32]
classes = 10
split = "layer1"
width = 4
bottleneck = { channels = 2, stride = 4 }

[[stages]]
kind = "backbone"
neurons = "quantised"
epochs = 3
learning_rate = 0.1
batch_size = 40
average = 0.9
augment = { shift = 2, mirror = true, erase = 4 }
resolutions = [[0, 16], [1, 32]]

[[stages]]
kind = "bottleneck"
epochs = 1
learning_rate = 0.05
batch_size = 40
distill = 1.0
imitate = 1.0

[[stages]]
kind = "finetune"
epochs = 1
learning_rate = 0.02
batch_size = 40
distill = 1.0
clip_gradient = 1.0
objective = "each"

[calibration]
budget = 0.05
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, from the data to the bundle."""
    folder = tmp_path_factory.mktemp("finished")
    done = run(*command("all", recipe, folder / "runs", "--out", str(folder / "bundle"), "--threads", "1"))
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    return folder


def stage_weights(runs: Path, stage: int) -> dict[str, np.ndarray]:
    (file,) = (runs / "stages").glob(f"*-{stage}-*/weights.safetensors")
    return load_file(file)


def test_all_ends_in_a_bundle_that_opens(finished: Path) -> None:
    bundle = Bundle.open(finished / "bundle")
    assert bundle.manifest.frame_shape == (2, 8, 8)
    assert bundle.manifest.split_shape == (4, 32, 32)
    assert bundle.has("head-embed")
    assert bundle.has("head-step")
    assert bundle.manifest.executions.keys() == set(EXECUTIONS)
    evaluations = json.loads((finished / "runs/tiny/evaluation.json").read_text())["executions"]
    for execution in EXECUTIONS:
        assert_complete(bundle.run_as(execution))
        evaluation = evaluations[execution]
        assert evaluation["accumulates"] > evaluation["accumulates_edge"] > 0
        # The first convolution of a picture is computed once.
        assert evaluation["multiply_accumulates"] == pytest.approx(9 * 4 * 32 * 32)
        assert (finished / f"runs/tiny/exit-curve-{execution}.png").stat().st_size > 1000


def assert_complete(bundle: Bundle) -> None:
    """The bundle's execution has its tables, its local exit, and what was measured of it on 360 test samples."""
    assert bundle.has(bundle.own("codec"))
    assert bundle.has(bundle.own("exit"))
    if bundle.execution == "rate":
        assert bundle.has("head-rate")
        assert bundle.has("tail-rate") != bundle.has("tail-rate-int8"), "one of them, as accurate as it may be"
    measured = bundle.settings.measured
    local = measured["local_exit"]
    assert len(local["test"]["accuracy_by_timestep"]) == 4
    assert local["calibration"]["budget"] == 0.05
    test = measured["test"]
    assert test["samples"] == 360
    assert len(test["accuracy_by_timestep"]) == 4
    assert 1.0 <= test["mean_timesteps"] <= 4.0
    assert 0.0 < test["frame"]["density"] < 1.0
    assert len(test["uncompressed_accuracy_by_timestep"]) == (4 if bundle.execution == "spiking" else 1)


def test_the_better_execution_is_the_default(finished: Path) -> None:
    manifest = Bundle.open(finished / "bundle").manifest
    exits = {name: spec.measured["calibration"]["accuracy"] for name, spec in manifest.executions.items()}
    assert exits[manifest.default_execution] == max(exits.values())


def test_a_bundle_that_only_steps_gets_the_executions_that_export_gives(finished: Path, tmp_path: Path) -> None:
    """From the weights alone: what the run's own files said is not needed."""
    path = Path(shutil.copytree(finished / "bundle", tmp_path / "bundle"))
    before = Bundle.open(path)
    less = replace(
        before.manifest, executions={"spiking": before.manifest.executions["spiking"]}, default_execution="spiking"
    )
    of_rate = [part for part in EXTRAS if part.endswith(("rate", "rate-int8"))]
    write_parts(before.run_as("spiking"), less, dict.fromkeys(of_rate))
    with pytest.raises(ConfigError, match=r"has no execution 'rate'.*neucodex-train executions"):
        Bundle.open(path, "rate")
    done = run(sys.executable, "-m", "training", "executions", "--bundle", str(path), "--threads", "1")
    assert done.returncode == 0, done.stderr
    after = Bundle.open(path)
    assert f"fingerprint {after.fingerprint.hex()[:16]}" in done.stdout
    assert after.manifest.default_execution == before.manifest.default_execution
    assert after.files.keys() == before.files.keys()
    for part in before.files.keys() - {"exit-rate", "exit-spiking"}:
        assert after.files[part] == before.files[part], part
    for execution in EXECUTIONS:
        ours, theirs = after.run_as(execution).settings, before.run_as(execution).settings
        assert replace(ours, measured={}) == replace(theirs, measured={})
        assert ours.measured["calibration"] == theirs.measured["calibration"]
        for name, value in theirs.measured["test"].items():
            if name != "uncompressed_accuracy_by_timestep":
                assert ours.measured["test"][name] == value, name
        assert ours.measured["test"]["uncompressed_accuracy_by_timestep"] is None, "none was named"


def test_a_stage_that_is_done_is_not_run_again(finished: Path, recipe: Path) -> None:
    (weights,) = (finished / "runs/stages").glob("*-1-*/weights.safetensors")
    before = weights.stat().st_mtime_ns
    done = run(*command("backbone", recipe, finished / "runs"))
    assert done.returncode == 0
    assert "is done" in done.stderr
    assert weights.stat().st_mtime_ns == before


def test_a_stage_begins_with_other_weights(finished: Path, recipe: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished / "runs", runs)
    before = {*(runs / "stages").iterdir()}
    init = f"stages.1.init={finished / 'bundle'}"
    done = run(*command("bottleneck", recipe, runs, "--threads", "1", "--set", init))
    assert done.returncode == 0, done.stderr
    assert f"tensors from {finished / 'bundle'}" in done.stderr
    (trained,) = {*(runs / "stages").iterdir()} - before
    assert "-2-bottleneck-" in trained.name
    # A bottleneck stage leaves the rest as it was: as the bundle had it, not as the backbone stage left it.
    readout = Bundle.open(finished / "bundle").weights("tail")["readout.linear.weight"]
    left = load_file(trained / "weights.safetensors")
    np.testing.assert_array_equal(left["readout.linear.weight"], readout.astype(np.float32))


def test_a_killed_run_goes_on_to_the_same_result(finished: Path, recipe: Path, tmp_path: Path) -> None:
    arguments = command("backbone", recipe, tmp_path, "--checkpoint-seconds", "0", "--threads", "1")
    with subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE) as process:
        wait_for(lambda: [*tmp_path.glob("stages/*-1-*/checkpoint.pt")] or process.poll() is not None, "a checkpoint")
        process.send_signal(signal.SIGKILL)
    assert not list(tmp_path.glob("stages/*-1-*/weights.safetensors"))
    for lost in tmp_path.glob("stages/*-1-*/log.jsonl"):  # as if it had been killed before this was written
        lost.unlink()
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert "goes on at epoch" in done.stderr
    undisturbed, resumed = stage_weights(finished / "runs", 1), stage_weights(tmp_path, 1)
    assert undisturbed.keys() == resumed.keys()
    for name, value in undisturbed.items():
        assert np.array_equal(value, resumed[name]), name
    assert logged(finished / "runs") == logged(tmp_path)


def logged(runs: Path) -> list[dict[str, object]]:
    """What stands in the first stage's log, but the time it took."""
    (log,) = (runs / "stages").glob("*-1-*/log.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert all(line.pop("seconds") > 0 for line in lines)
    return lines


def test_two_ranks_train_one_network(recipe: Path, tmp_path: Path) -> None:
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = run(*ranks, *command("backbone", recipe, tmp_path, "--threads", "1", "--device", "cpu")[1:])
    assert done.returncode == 0, done.stderr
    (log,) = tmp_path.glob("stages/*-1-*/log.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert stage_weights(tmp_path, 1)


def test_figures_of_an_earlier_calibration_or_network_are_not_exported(
    finished: Path, recipe: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished / "runs", runs)
    export = ("export", recipe, runs, "--out", str(tmp_path / "bundle"), "--threads", "1")
    assert run(*command("calibrate", recipe, runs, "--budget", "0.9", "--threads", "1")).returncode == 0
    done = run(*command(*export))
    assert done.returncode == 2
    assert "evaluation.json is of another calibration" in done.stderr
    longer = ("--set", "stages.2.epochs=2")
    assert run(*command("finetune", recipe, runs, "--threads", "1", *longer)).returncode == 0
    for verb in (export, ("evaluate", recipe, runs)):
        done = run(*command(*verb, *longer))
        assert done.returncode == 2
        assert "calibration.json is of another network than the recipe's" in done.stderr
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("verb", "said", "code"), [("finetune", "run the stage before", 2), ("evaluate", "neucodex-train calibrate", 2)]
)
def test_a_missing_step_is_named(recipe: Path, tmp_path: Path, verb: str, said: str, code: int) -> None:
    done = run(*command(verb, recipe, tmp_path))
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
