"""The training pipeline as a user runs it: real processes, real files, tiny networks."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from shared.bundle import Bundle
from shared.bundle_writer import write_parts
from shared.errors import ConfigError
from shared.execution import EXECUTIONS
from shared.exit_policy import NEVER
from shared.manifest import EXTRAS
from tests.support.bundles import retuned
from tests.support.edges import run_edge
from tests.support.processes import cloud_process, wait_for

TRAIN = (sys.executable, "-m", "training")
DIGITS = Path(__file__).parents[2] / "models" / "resnet18-digits"

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


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def command(verb: str, recipe: Path, runs: Path, *more: str) -> list[str]:
    return [*TRAIN, verb, "--recipe", str(recipe), "--runs", str(runs), *more]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=900, check=False)


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


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 30: a light bar below, or above. (Left and right would not do: the recipe mirrors pictures.)"""
    folder = tmp_path_factory.mktemp("mine") / "pictures"
    random = np.random.default_rng(0)
    for name, place in (("above", slice(0, 8)), ("below", slice(12, 20))):
        (folder / name).mkdir(parents=True)
        for i in range(30):
            picture = random.integers(0, 60, (20, 20, 3), dtype=np.uint8)
            picture[place] += 180
            Image.fromarray(picture).save(folder / name / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def own(pictures: Path) -> tuple[Path, list[list[str]]]:
    """docs/training.md's path, from a network that is small enough for a test: the bundle, and the printed commands."""
    folder = pictures.parent
    written = run(*TRAIN, "new", str(pictures), "--init", str(DIGITS), "--threads", "1")
    assert written.returncode == 0, written.stderr
    assert "6 held-out pictures are too few to promise" in written.stderr
    assert "2 classes, 60 pictures: 42 to train on, 6 held out, 12 to test on" in written.stderr
    assert re.search(r"`neucodex-train all` will take about \d+ (s|min)", written.stderr)
    recipe, out = folder / "mine.toml", folder / "bundle"
    recipe.write_text(written.stdout)
    where = ("--data", str(pictures), "--out", str(out), "--threads", "1", "--log-format", "json")
    done = run(*command("all", recipe, folder / "runs", *where))
    assert done.returncode == 0, done.stderr
    epochs = [line for line in map(json.loads, done.stderr.splitlines()) if line.get("event") == "epoch"]
    assert [(line["stage"], line["stages"], line["epoch"], line["epochs"]) for line in epochs] == [
        (1, 1, epoch, 30) for epoch in range(1, 31)
    ]
    assert epochs[-1]["seconds_left"] == 0.0
    commands = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("  neucodex-")]
    return out, commands


def test_from_a_folder_of_pictures_to_a_served_bundle(
    own: tuple[Path, list[list[str]]], pictures: Path, tmp_path: Path
) -> None:
    out, (cloud, edge) = own
    address = "127.0.0.1:50051"
    assert cloud == ["neucodex-cloud", "--bundle", str(out), "--listen", address, "--insecure"]
    assert edge[:2] == ["neucodex-edge", "classify"]
    with cloud_process(tmp_path, [out]) as running:
        flags = [running.listen if flag == address else flag for flag in edge[2:]]
        done = run_edge(*flags, "--json")
        assert done.code == 0, done.err
        assert [(line["sample"], line["prediction"]) for line in done.lines] == [
            (str(pictures / name / "04.png"), name) for name in ("above", "below")
        ]


def test_a_bundle_knows_the_pictures_that_it_was_made_of(own: tuple[Path, list[list[str]]], pictures: Path) -> None:
    """Only where they lie has to be said."""
    out, _ = own
    bundle = Bundle.open(out)
    assert bundle.manifest.class_names == ("above", "below")
    for execution in EXECUTIONS:
        assert bundle.run_as(execution).settings.measured["test"]["accuracy_by_timestep"][-1] > 0.8
    for verb in (("export", "--runtime", "onnx-int8"), ("codec",), ("local-exit",)):
        done = run(*TRAIN, *verb, "--bundle", str(out), "--data", str(pictures))
        assert done.returncode == 0, done.stderr


def test_an_exit_that_six_pictures_cannot_certify_is_never(
    own: tuple[Path, list[list[str]]], pictures: Path, tmp_path: Path
) -> None:
    """No sample stops before T, however certain, and the edge answers none by itself."""
    bundle = Bundle.open(Path(shutil.copytree(own[0], tmp_path / "bundle")))
    for execution in EXECUTIONS:
        settings = bundle.run_as(execution).settings
        assert settings.measured["calibration"]["promise"] is None
        assert settings.local_exit is not None
        assert settings.exit_policy.threshold == settings.local_exit.exit_policy.threshold == NEVER
        assert settings.temperature == settings.local_exit.temperature == 1.0, "fitted on one or two pictures"
        assert settings.measured["test"]["mean_timesteps"] == 4.0
        assert settings.measured["local_exit"]["test"]["answered_before_a_byte"] == 0.0
        # So certain that float32 has only 1 for it.
        local_exit = replace(settings.local_exit, temperature=1e-4)
        bundle = retuned(bundle.run_as(execution), temperature=1e-4, local_exit=local_exit)
    with cloud_process(tmp_path / "cloud", [bundle.path], "--execution", "all") as cloud:
        for execution in EXECUTIONS:
            ran = run_edge(
                *("--bundle", str(bundle.path), "--cloud", cloud.listen, "--execution", execution, "--json"),
                *("--local-exit", "--images", str(pictures)),
            )
            assert ran.code == 0, ran.err
            assert "the bundle's local exit is never sure" in ran.err
            assert min(line["confidence"] for line in ran.lines) == 1.0
            assert ran.summary["exits"] == {"4": 60}
            assert ran.summary["answered_by"] == {"cloud": 60, "edge": 0}
            assert ran.summary["threshold"] == NEVER
