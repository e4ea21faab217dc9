"""How many files of the cloud one picture passes, and how many calls across files: figures of docs/architecture.md."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cloud_server.config import CloudConfig
from cloud_server.server import serve
from shared.bundle import Bundle
from shared.execution import EXECUTIONS, Execution
from tests.support.bundles import make_bundle
from tests.support.call_profile import CallProfile
from tests.support.known import SAMPLES, known_frames
from tests.support.processes import DEADLINE, wait_for
from tests.support.raw_edge import RawEdge

PICTURES = 24

CLOUD_FILES = 12
"""Files of cloud_server/ that one picture may pass."""

CLOUD_CALLS = 88
"""Calls from one file of cloud_server/ into another of these packages that one picture of 4 timesteps may cost."""

PACKAGES = ("cloud_server", "shared", "protos")


async def classify_pictures(address: str, bundle: Bundle, pipe: Connection) -> None:
    """Classify in lockstep. A picture is its frames, and the Stop of the one before: they arrive in this order."""
    frames = known_frames(bundle)
    async with RawEdge(address, bundle) as edge:
        for sample in range(PICTURES):
            if sample:
                await edge.stop(sample - 1)
            for timestep, spikes in enumerate(frames[:, sample % SAMPLES], start=1):
                await edge.step(sample, timestep, spikes)
            pipe.send(sample)
            pipe.recv()


def run_edge(ready_file: Path, path: Path, execution: Execution, pipe: Connection) -> None:
    """A lockstep edge in a process of its own. It reports each picture, and waits until the report is read."""
    wait_for(ready_file.exists, "the cloud to be ready")
    address = json.loads(ready_file.read_text())["listen"]
    asyncio.run(classify_pictures(address, Bundle.open(path, execution), pipe))


@pytest.fixture(autouse=True)
def switch_interval() -> Iterator[None]:
    """The cloud sets its own."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Without graphs: torch runs the tail."""
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.mark.parametrize("execution", EXECUTIONS)
async def test_a_picture_passes_few_files_of_the_cloud(
    tmp_path: Path, bundle: Bundle, execution: Execution, capsys: pytest.CaptureFixture[str]
) -> None:
    ready_file = tmp_path / "ready.json"
    config = CloudConfig(
        (bundle.path,),
        listen=("127.0.0.1", 0),
        metrics=("127.0.0.1", 0),
        execution=execution,
        threads=1,
        ready_file=ready_file,
    )
    profile = CallProfile(PACKAGES)
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    edge = spawn.Process(target=run_edge, args=(ready_file, bundle.path, execution, theirs))
    edge.start()
    theirs.close()

    def on_report() -> None:
        try:
            ours.recv()
        except EOFError:  # the edge has ended
            loop.remove_reader(ours.fileno())
            os.kill(os.getpid(), signal.SIGTERM)
            return
        profile.next_picture()
        ours.send(None)

    loop = asyncio.get_running_loop()
    loop.add_reader(ours.fileno(), on_report)
    with profile:
        await serve(config)
    edge.join(DEADLINE)
    assert edge.exitcode == 0
    assert len(profile.pictures) == PICTURES
    picture = profile.cheapest
    files = [file for file in picture.files if file.startswith("cloud_server/")]
    calls = sum(count for (caller, _, _), count in picture.calls.items() if caller.startswith("cloud_server/"))
    with capsys.disabled():
        print(f"\nthe cloud, execution {execution}: {len(files)} files, {calls} calls across files")
    assert len(files) <= CLOUD_FILES, str(picture)
    assert calls <= CLOUD_CALLS, str(picture)
