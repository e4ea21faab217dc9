"""Several engine processes behind one port: shared load, one metrics page, a child that dies, and the way out."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from cloud_server.config import CloudConfig
from shared.bundle import Bundle
from tests.support.bundles import make_bundle
from tests.support.edges import ROOT
from tests.support.graphs import with_tail_step
from tests.support.known import SAMPLES, assert_close, known_confidences, known_frames
from tests.support.processes import DEADLINE, CloudProcess, cloud_process, until, wait_for
from tests.support.raw_edge import RawEdge

EDGES = 40
"""That all of them come to one of two processes happens once in 2 to the 39."""


@pytest.fixture
def folder(tmp_path: Path, bundle: Bundle) -> Path:
    shutil.copytree(bundle.path, tmp_path / "bundles" / "first")
    return tmp_path / "bundles"


@pytest.fixture
def cloud(tmp_path: Path, folder: Path) -> Iterator[CloudProcess]:
    with cloud_process(tmp_path / "cloud", [], "--bundles-dir", str(folder), "--processes", "2") as process:
        yield process


def children(cloud: CloudProcess) -> list[int]:
    """The engine processes (Linux); multiprocessing has a helper of its own beside them."""
    pid = cloud.process.pid
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_they_share_the_load_and_one_that_dies_is_replaced(cloud, folder, bundle, frames, expected):
    edges = [await RawEdge(cloud.listen, bundle).__aenter__() for _ in range(EDGES)]
    for number, edge in enumerate(edges):
        sample = number % SAMPLES
        assert_close((await edge.step(0, 1, frames[0, sample])).confidences, expected, sample, 1)
    await until(lambda: cloud.metric("neucodex_cloud_streams") == EDGES, "the streams of both to be counted")
    assert cloud.metric("neucodex_cloud_frames_total") == EDGES
    assert cloud.metric("neucodex_cloud_slots") == 2 * CloudConfig.slots

    before = children(cloud)
    assert len(before) == 2
    for process in ("parent", "0", "1"):
        for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
            assert cloud.metric(name, process=process) > 0
    os.kill(before[0], signal.SIGKILL)
    lost = 0
    for number, edge in enumerate(edges):
        sample = number % SAMPLES
        try:
            assert_close((await edge.step(0, 2, frames[1, sample])).confidences, expected, sample, 2)
        except (grpc.aio.AioRpcError, EOFError, asyncio.InvalidStateError):
            lost += 1
        await edge.close()
    assert 0 < lost < EDGES
    await until(lambda: cloud.metric("neucodex_cloud_slots") == 2 * CloudConfig.slots, "another to take its place")
    assert before[1] in children(cloud)
    assert cloud.metric("neucodex_cloud_frames_total") == 2 * EDGES - lost, "what a dead one has counted is kept"
    assert "another takes its place" in cloud.log.read_text()

    other = with_tail_step(make_bundle(folder / "second", classes=3, seed=5))
    cloud.signal(signal.SIGHUP)
    await until(lambda: cloud.metric("neucodex_cloud_slots") == 4 * CloudConfig.slots, "both to serve the new bundle")
    wanted = known_confidences(other)
    for _ in range(8):
        async with RawEdge(cloud.listen, other) as edge:
            assert_close((await edge.step(0, 1, known_frames(other)[0, 0])).confidences, wanted, 0, 1)
    assert await cloud.health() == "SERVING"

    last = children(cloud)
    cloud.signal(signal.SIGTERM)
    assert await asyncio.to_thread(cloud.wait) == 0
    assert not any(map(alive, last))
    assert not (folder.parent / "cloud" / "ready.json").exists()
    assert "Traceback" not in cloud.log.read_text()


async def test_open_samples_of_all_finish_before_they_end(cloud, bundle, frames, expected):
    edges = [await RawEdge(cloud.listen, bundle).__aenter__() for _ in range(10)]
    for edge in edges:
        await edge.step(0, 1, frames[0, 0])
    cloud.signal(signal.SIGINT)
    for timestep in (2, 3, 4):
        for edge in edges:
            assert_close((await edge.step(0, timestep, frames[timestep - 1, 0])).confidences, expected, 0, timestep)
    for edge in edges:
        assert await edge.end() is grpc.StatusCode.UNAVAILABLE
        await edge.close()
    assert await asyncio.to_thread(cloud.wait) == 0


def test_without_their_parent_they_end(cloud: CloudProcess) -> None:
    orphans = children(cloud)
    cloud.process.kill()
    wait_for(lambda: not any(map(alive, orphans)), "the children to end")


def test_what_cannot_start_is_one_line_and_an_exit_code(bundle: Bundle, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle.path, broken)
    (broken / "tail.safetensors").write_bytes(b"damaged")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for folder, listen, code, words in (
            (bundle.path, address, 2, address),
            (tmp_path / "nowhere", "127.0.0.1:0", 3, "nowhere"),
            (broken, "127.0.0.1:0", 3, "tail.safetensors"),
        ):
            flags = ["--insecure", "--processes", "2", "--bundle", str(folder), "--log-level", "warning"]
            run = subprocess.run(
                [sys.executable, "-m", "cloud_server", *flags, "--listen", listen, "--metrics", "127.0.0.1:0"],
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                cwd=ROOT,
                check=False,
            )
            assert run.returncode == code, run.stderr
            assert words in run.stderr
            assert "Traceback" not in run.stderr
