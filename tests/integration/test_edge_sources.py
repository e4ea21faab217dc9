"""Sources that wait for their input, in real processes: what comes is answered at once, and Ctrl-C ends it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.bundle import Bundle
from tests.support.edges import edge_process, run_edge
from tests.support.processes import DEADLINE, CloudProcess, cloud_process

cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def cloud(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    with cloud_process(tmp_path_factory.mktemp("cloud"), [bundle.path]) as running:
        yield running


def draw(path: Path, seed: int) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16), np.uint8)).save(path)
    return path


def clip_of(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 10, (32, 32))
    for number in range(frames):
        writer.write(np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8))
    writer.release()
    return path


def flags(bundle: Bundle, cloud: CloudProcess) -> list[str]:
    return ["--bundle", str(bundle.path), "--cloud", cloud.listen, "--json"]


def test_names_on_standard_input_are_answered_as_they_come(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    with edge_process(*flags(bundle, cloud), "--images", "-") as edge:
        assert edge.stdin is not None
        assert edge.stdout is not None
        for number in range(3):
            edge.stdin.write(f"{draw(tmp_path / f'{number}.png', number)}\n")
            edge.stdin.flush()
            # It is still open: nobody says that this was the last.
            assert json.loads(edge.stdout.readline())["sample"] == str(tmp_path / f"{number}.png")
        rest, err = edge.communicate()
    assert edge.returncode == 0, err
    assert json.loads(rest)["summary"]["samples"] == 3


def test_a_limit_ends_a_run_whose_input_stays_open(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    with edge_process(*flags(bundle, cloud), "--images", "-", "--limit", "1") as edge:
        assert edge.stdin is not None
        edge.stdin.write(f"{draw(tmp_path / 'a.png', 0)}\n")
        edge.stdin.flush()
        assert edge.wait(DEADLINE) == 0


def test_ctrl_c_while_it_waits_for_a_name(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    with edge_process(*flags(bundle, cloud), "--images", "-") as edge:
        assert edge.stdin is not None
        assert edge.stdout is not None
        edge.stdin.write(f"{draw(tmp_path / 'a.png', 0)}\n")
        edge.stdin.flush()
        assert json.loads(edge.stdout.readline())["sample"] == str(tmp_path / "a.png")
        edge.send_signal(signal.SIGINT)
        # Standard input stays open: the process must not wait for it.
        assert json.loads(edge.stdout.readline())["summary"]["samples"] == 1
        assert edge.wait(30) == 130


def test_a_watched_folder_until_ctrl_c_and_on_from_there(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "results.jsonl"
    folder.mkdir()
    draw(folder / "a.png", 0)
    watched = [*flags(bundle, cloud), "--watch", str(folder), "--out", str(out), "--resume"]
    with edge_process(*watched) as edge:
        assert edge.stdout is not None
        assert json.loads(edge.stdout.readline())["sample"] == str(folder / "a.png")
        draw(folder / "b.png", 1)
        assert json.loads(edge.stdout.readline())["sample"] == str(folder / "b.png")
        edge.send_signal(signal.SIGINT)
        rest, err = edge.communicate()
    assert edge.returncode == 130, err
    assert json.loads(rest)["summary"]["samples"] == 2
    assert "interrupted: 2 samples done" in err
    draw(folder / "c.png", 2)
    with edge_process(*watched) as edge:
        assert edge.stdout is not None
        assert json.loads(edge.stdout.readline())["sample"] == str(folder / "c.png")
        edge.send_signal(signal.SIGTERM)
        edge.communicate()
    assert [json.loads(line)["sample"] for line in out.read_text().splitlines()[1:]] == [
        str(folder / f"{name}.png") for name in "abc"
    ]


def test_a_video(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    clip = str(clip_of(tmp_path / "clip.avi", 9))
    run = run_edge(*flags(bundle, cloud), "--video", clip, "--every", "4")
    assert run.code == 0, run.err
    assert [line["sample"] for line in run.lines] == [f"{clip}#0", f"{clip}#4", f"{clip}#8"]
    assert all(line["input_time"] is None for line in run.lines)
