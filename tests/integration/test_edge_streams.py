"""An edge over a network camera, as a process: how it ends when the camera does."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest

from shared.timestamps import rfc3339
from tests.support.camera import Viewer, network_camera
from tests.support.edges import ROOT, edge_process, run_edge
from tests.support.processes import DEADLINE
from tests.support.scripted_cloud import answering

pytest.importorskip("cv2")


def flags(cloud: str, url: str, *more: str) -> tuple[str, ...]:
    bundle = ROOT / "models/resnet18-digits"
    return ("--bundle", str(bundle), "--cloud", cloud, "--video", url, "--json", *more)


def ten(viewer: Viewer) -> None:
    viewer.frames(range(10))


async def test_a_camera_that_is_gone_is_no_success() -> None:
    async with answering() as cloud:
        with network_camera(ten) as camera:
            run = await asyncio.to_thread(run_edge, *flags(cloud, camera.url, "--no-reconnect"))
    assert run.code == 4, run.err
    assert [line["sample"] for line in run.lines] == [f"{camera.url}#{number}" for number in range(10)]
    assert run.summary["samples"] == 10
    assert f"error: {camera.url}: no more frames after 10" in run.err
    assert "Traceback" not in run.err


async def test_a_stream_is_opened_again_and_the_run_goes_on() -> None:
    async with answering() as cloud:
        with network_camera(ten, ten) as camera:
            run = await asyncio.to_thread(run_edge, *flags(cloud, camera.url, "--limit", "15"))
    assert run.code == 0, run.err
    assert len(run.lines) == 15
    assert "opening it again" in run.err


async def test_a_run_that_waits_for_a_frame_is_interrupted(tmp_path: Path) -> None:
    def ten_and_silence(viewer: Viewer) -> None:
        ten(viewer)
        viewer.hang()

    async with answering() as cloud:
        with network_camera(ten_and_silence) as camera, edge_process(*flags(cloud, camera.url)) as edge:

            def to_its_end() -> tuple[list[str], str, int]:
                assert edge.stdout is not None
                lines = [edge.stdout.readline() for _ in range(10)]
                edge.send_signal(signal.SIGINT)
                _, err = edge.communicate(timeout=DEADLINE)
                return lines, err, edge.returncode

            lines, err, code = await asyncio.to_thread(to_its_end)
    assert all(lines)
    assert code == 130, err
    assert "interrupted: 10 samples done" in err


async def test_a_camera_adds_to_its_results_and_says_when_a_frame_was_taken(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    began = rfc3339(time.time())
    async with answering() as cloud:
        with network_camera(ten, ten) as camera:
            for _ in range(2):
                added = ("--limit", "3", "--out", str(out), "--resume")
                run = await asyncio.to_thread(run_edge, *flags(cloud, camera.url, *added))
                assert run.code == 0, run.err
    _, *lines = map(json.loads, out.read_text().splitlines())
    # A camera's frames are counted from each start: those of another run are other frames.
    assert [line["sample"] for line in lines] == [f"{camera.url}#{number}" for number in range(3)] * 2
    assert began <= lines[0]["input_time"] <= lines[0]["time"] <= lines[3]["input_time"]
