"""Simulated sets, the cache of decoded parts, and the command line over them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from shared.datasets import load_split
from shared.datasets.cifar10 import FOLDER, RECORD_BYTES, RECORDS
from shared.datasets.event_collector import make_events
from shared.errors import SourceError
from tests.support.recordings import write_bin
from training.commands.data import data
from training.datasets.simulate import CAMERAS, SimulationRecipe, simulate_set
from training.event_simulation import CIFAR10_DVS, Motion

SMALL = SimulationRecipe(size=16, timesteps=3, per_class=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a made-up CIFAR-10."""
    root = tmp_path_factory.mktemp("pictures")
    folder = root / FOLDER
    folder.mkdir()
    records = np.zeros((RECORDS, RECORD_BYTES), np.uint8)
    records[:, 0] = np.arange(RECORDS) % 10
    records[:20, 1:] = np.tile(np.repeat(np.arange(0, 256, 8), 32), 3) * np.linspace(0.1, 1, 20)[:, None]
    for name in ("data_batch_1.bin", "test_batch.bin"):
        records.tofile(folder / name)
    for number in range(2, 6):
        (folder / f"data_batch_{number}.bin").symlink_to(folder / "data_batch_1.bin")
    return root


@pytest.fixture(scope="module", autouse=True)
def short_motion() -> Iterator[None]:
    """One loop, small and coarse: these tests look at what is written, not at how it looks."""
    motion = Motion((0.0, 1e4, 2e4), (0.0, 4.0, 0.0), (0.0, 4.0, 0.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CAMERAS, "cifar10dvs-sim", replace(CIFAR10_DVS, motion=motion, box=(46, 46), crop=14))
        yield


@pytest.fixture(scope="module")
def simulated(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated")
    simulate_set("cifar10dvs-sim", pictures, out, SMALL)
    return out


def test_simulated_set_is_read_back_and_says_that_it_is_simulated(simulated: Path) -> None:
    split = load_split("cifar10dvs-sim", simulated, "test", size=16, timesteps=3, allow_partial=True)
    assert split.frames.shape == (10, 3, 2, 16, 16)
    assert sorted(split.labels.tolist()) == list(range(10))
    assert split.frames.any(axis=(1, 2, 3, 4)).all()
    about = json.loads((simulated / "cifar10dvs-sim" / "simulation.json").read_text())
    assert about["simulated"] is True
    assert about["recipe"]["per_class"] == 1


def test_workers_do_not_change_the_events(pictures: Path, simulated: Path, tmp_path: Path) -> None:
    simulate_set("cifar10dvs-sim", pictures, tmp_path, SMALL, workers=2)
    one, two = (
        load_split("cifar10dvs-sim", root, "train", size=16, timesteps=3, allow_partial=True)
        for root in (simulated, tmp_path)
    )
    np.testing.assert_array_equal(one.frames, two.frames)


def test_unknown_simulated_set(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'nmnist' is no simulated set"):
        simulate_set("nmnist", pictures, tmp_path, SMALL)


@pytest.fixture
def nmnist(tmp_path: Path) -> Path:
    for part in ("Train", "Test"):
        for digit in (3, 8):
            path = tmp_path / "N-MNIST" / part / str(digit) / "00001.bin"
            path.parent.mkdir(parents=True)
            write_bin(path, make_events([digit], [digit], [1], [0]))
    return tmp_path


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(data, list(map(str, arguments)), terminal_width=200)
    return result.exit_code, result.output + str(result.exception or "")


def test_list_shows_every_set_and_what_is_here(nmnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    code, text = run("list", "--data", nmnist)
    assert code == 0
    assert "partial, 2 files" in text
    assert "SIMULATED" in text
    assert "ncaltech101-sim" in text


def test_check_counts_and_names_damaged_files(nmnist: Path) -> None:
    code, text = run("check", "nmnist", "--data", nmnist, "--allow-partial")
    assert code == 0
    assert "nmnist test: 2 samples in 2 classes" in text
    (nmnist / "N-MNIST" / "Test" / "8" / "00001.bin").write_bytes(b"123")
    code, text = run("check", "nmnist", "--data", nmnist, "--allow-partial")
    assert code != 0
    assert "1 damaged files" in text
    assert "00001.bin: damaged, 3 bytes" in text


def test_check_needs_no_folder_for_the_embedded_set() -> None:
    code, text = run("check", "digits")
    assert code == 0
    assert "digits test: 360 samples in 10 classes, 35 to 37 in a class" in text


def test_simulate_command(pictures: Path, tmp_path: Path) -> None:
    code, text = run(
        "simulate", "cifar10dvs-sim", "--data", pictures, "--out", tmp_path, "--size", "8", "--per-class", "1"
    )
    assert code == 0
    assert "SIMULATED" in text
    assert (tmp_path / "cifar10dvs-sim" / "train_8x8_T10_count.npz").is_file()


def test_every_option_is_an_environment_variable() -> None:
    for command in data.commands.values():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert str(parameter.envvar).startswith("NEUCODEX_")
