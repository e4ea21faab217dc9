"""The Dockerfiles and what may enter an image, as far as that can be told without building one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.prometheus import ROOT

ROOMS = {
    "cloud": {"protos", "shared", "cloud_server"},
    "edge": {"protos", "shared", "edge_client"},
}


@pytest.mark.parametrize("side", ROOMS)
def test_hadolint_has_nothing_to_say(side: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--failure-threshold", "style", f"deploy/{side}.Dockerfile"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("side", ROOMS)
def test_an_image_gets_its_rooms_alone(side: str) -> None:
    lines = (ROOT / f"deploy/{side}.Dockerfile").read_text().splitlines()
    copied = {line.split()[1] for line in lines if line.startswith("COPY") and "/app/" in line}
    assert copied == ROOMS[side]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    steps = {"pyproject.toml", "constraints.txt", "deploy/requirements.py", "deploy/slim.py"}
    assert allowed == steps | ROOMS["cloud"] | ROOMS["edge"]


@pytest.mark.parametrize("side", ROOMS)
def test_it_runs_unprivileged_and_needs_no_shell(side: str) -> None:
    text = (ROOT / f"deploy/{side}.Dockerfile").read_text()
    final = text[text.rindex("\nFROM ") :]
    assert "\nUSER 10001:10001\n" in final
    assert "\nRUN " not in final
    for instruction in ("ENTRYPOINT", "CMD"):
        assert all(line.split(instruction, 1)[1].strip().startswith("[") for line in final.splitlines()
                   if line.lstrip().startswith(instruction))  # fmt: skip


@pytest.mark.parametrize("side", ROOMS)
def test_only_its_own_dependencies_are_asked_for(side: str) -> None:
    asked = requirements(side)
    assert any(line.startswith("grpcio>=") for line in asked)
    assert not any(line.startswith(("snntorch", "matplotlib", "pytest")) for line in asked)
    assert not any(line.startswith("torch") for line in asked)


def test_a_cloud_for_gpus_has_what_the_other_has_and_torch() -> None:
    (torch,) = set(requirements("cloud-torch")) - set(requirements("cloud"))
    assert torch.startswith("torch>=")
    assert set(requirements("cloud")) < set(requirements("cloud-torch"))


def test_an_extra_that_is_not_there_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "deploy/requirements.py", "pyproject.toml", "nothing"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no extra nothing; there are edge" in done.stderr


def requirements(*extras: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "deploy/requirements.py", "pyproject.toml", *extras],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip


@pytest.mark.parametrize("side", ROOMS)
def test_everything_in_an_image_can_be_imported_without_the_other_rooms(side: str, tmp_path: Path) -> None:
    for room in ROOMS[side]:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *sorted(ROOMS[side])],
        cwd=tmp_path, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


IMPORT_ALL = """
import importlib, importlib.util, pkgutil, sys

# What a development install adds: the whole checkout.
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]
sys.path_hooks = [hook for hook in sys.path_hooks if "editable" not in str(hook).lower()]
sys.path_importer_cache.clear()
rooms = sys.argv[1:]
for absent in {"training", "benchmarks", "cloud_server", "edge_client"} - set(rooms):
    assert importlib.util.find_spec(absent) is None, absent
names = [module.name for room in rooms for module in pkgutil.walk_packages([room], room + ".")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
