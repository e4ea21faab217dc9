"""From a folder of pictures to a bundle that is served, as docs/training.md leads a user."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.bundle import Bundle
from shared.execution import EXECUTIONS
from shared.exit_policy import NEVER
from tests.support.bundles import retuned
from tests.support.edges import run_edge
from tests.support.processes import cloud_process
from tests.support.training_runs import TRAIN, command, run

DIGITS = Path(__file__).parents[2] / "models" / "resnet18-digits"


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
