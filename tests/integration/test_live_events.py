"""Live events and a running cloud: the verdicts are those of the same recording read from its file."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.events.sender import SentForm, datagrams, encode
from edge_client.event_options import EventOptions
from edge_client.input_config import InputConfig
from edge_client.windows import Window
from shared.bundle import Bundle
from shared.datasets.event_files import read_events
from shared.datasets.event_type import Events
from tests.support.bundles import make_bundle
from tests.support.edges import EdgeRun, edge_here, edge_process
from tests.support.processes import CloudProcess, cloud_process
from tests.support.real_data import needs_data_sets, unpack
from tests.support.recordings import write_dat
from tests.unit.shared.datasets.made import made

TIME, COUNT = "time:50/25", "count:500/250"
PATIENT = EventOptions(window_buffer=99)
"""Nothing is dropped while the machine is busy: what is compared is every window."""

NMNIST = Path(__file__).parents[2] / "models/vgg16-nmnist"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"), input_shape=(2, 34, 34), input_kind="events", timesteps=4)


@pytest.fixture(scope="module")
def cloud(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    with cloud_process(tmp_path_factory.mktemp("cloud"), [bundle.path]) as running:
        yield running


async def classified(
    bundle: Bundle,
    cloud: CloudProcess,
    events: str | Path,
    window: str,
    options: EventOptions = PATIENT,
    limit: int = 0,
) -> EdgeRun:
    inputs = InputConfig(events=(str(events),), window=Window.parse(window), event_options=options, limit=limit or None)
    run = await edge_here(bundle, cloud.listen, inputs)
    assert run.code == 0, run.err
    return run


def verdicts(lines: list[dict[str, Any]]) -> list[Any]:
    names = ("prediction", "confidence", "timesteps", "payload_bytes", "time_s")
    return [(line["sample"].rpartition("#")[2], *(line[name] for name in names)) for line in lines]


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def send(events: Events, form: SentForm, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for data in datagrams(events, form):
            out.sendto(data, ("127.0.0.1", port))


@pytest.mark.parametrize("window", [TIME, COUNT])
@pytest.mark.parametrize("form", ["spif8", "t64_x16_y16_on8"])
async def test_over_udp(bundle: Bundle, cloud: CloudProcess, tmp_path: Path, window: str, form: SentForm) -> None:
    write_dat(tmp_path / "a.dat", made())
    expected = (await classified(bundle, cloud, tmp_path / "a.dat", window)).lines
    port = free_port(socket.SOCK_DGRAM)
    options = EventOptions(window_buffer=99, event_form="spif" if form == "spif8" else "t64_x16_y16_on8")
    # The last window of time ends with a later event, which a recording does not need.
    limit = len(expected) - (window == TIME)
    edge = asyncio.create_task(classified(bundle, cloud, f"udp://127.0.0.1:{port}", window, options, limit))
    await asyncio.sleep(0)  # it has the port
    send(made(), form, port)
    run = await edge
    assert verdicts(run.lines) == verdicts(expected[:limit])
    counts = run.summary["stream"]
    assert counts["events"] == 2000
    assert [counts[what] for what in ("malformed", "dropped_packets", "late", "dropped_windows")] == [0] * 4


@needs_data_sets
def test_real_recordings_over_udp_to_a_running_pair(tmp_path: Path) -> None:
    folder = unpack(tmp_path / "data", "nmnist") / "N-MNIST/Test"
    recording = sorted(folder.glob("*/*.bin"))[0]
    events = read_events(recording)
    bundle, port = Bundle.open(NMNIST), free_port(socket.SOCK_DGRAM)
    with cloud_process(tmp_path, [NMNIST]) as cloud:
        expected = asyncio.run(classified(bundle, cloud, recording, "count:1000")).lines
        name = f"udp://127.0.0.1:{port}"
        flags = ["--bundle", str(NMNIST), "--cloud", cloud.listen, "--window", "count:1000", "--log-level", "info"]
        more = ["--json", "--limit", str(len(expected)), "--execution", bundle.execution]
        with edge_process(*flags, *more, "--events", name) as edge:
            assert edge.stderr is not None
            assert edge.stdout is not None
            assert any("events can come" in line for line in edge.stderr)
            found = []
            for number in range(len(expected)):
                send(events[1000 * number : 1000 * (number + 1)], "spif8", port)
                found.append(json.loads(edge.stdout.readline()))
            edge.communicate(timeout=60)
        assert edge.returncode == 0
    assert len(expected) >= 3
    assert verdicts(found) == verdicts(expected)


async def test_over_tcp_from_a_sender_that_comes_again(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    write_dat(tmp_path / "a.dat", made())
    expected = (await classified(bundle, cloud, tmp_path / "a.dat", COUNT)).lines
    port, half = free_port(socket.SOCK_STREAM), len(made()) // 2
    edge = asyncio.create_task(classified(bundle, cloud, f"tcp://:{port}", COUNT, limit=len(expected)))
    await asyncio.sleep(0)
    for part in (made()[:half], made()[half:]):
        _, out = await asyncio.open_connection("127.0.0.1", port)
        out.write(encode(part, "spif8"))
        out.close()
        await out.wait_closed()
    assert verdicts((await edge).lines) == verdicts(expected)


async def test_on_standard_input(
    bundle: Bundle, cloud: CloudProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dat(tmp_path / "a.dat", made())
    expected = (await classified(bundle, cloud, tmp_path / "a.dat", TIME)).lines
    (tmp_path / "events").write_bytes(encode(made(), "spif8"))
    with (tmp_path / "events").open("rb") as given, standard_input(given):
        run = await classified(bundle, cloud, "stdin:", TIME)
    assert verdicts(run.lines) == verdicts(expected)
    assert run.summary["stream"]["windows"] == len(expected)


@contextlib.contextmanager
def standard_input(given: io.BufferedReader) -> Iterator[None]:
    before = os.dup(0)
    os.dup2(given.fileno(), 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


@pytest.mark.parametrize("window", [TIME, COUNT])
async def test_a_replayed_recording(bundle: Bundle, cloud: CloudProcess, tmp_path: Path, window: str) -> None:
    write_dat(tmp_path / "a.dat", made())
    expected = await classified(bundle, cloud, tmp_path / "a.dat", window)
    replayed = await classified(bundle, cloud, tmp_path / "a.dat", window, EventOptions(window_buffer=99, replay=4.0))
    assert verdicts(replayed.lines) == verdicts(expected.lines)


async def test_still_windows_cost_no_byte(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    moving, later = made(), made(seed=1)
    later["t"] += int(moving["t"][-1]) + 400_000
    write_dat(tmp_path / "a.dat", np.concatenate([moving, later]))
    run = await classified(bundle, cloud, tmp_path / "a.dat", "time:50", EventOptions(skip_still=0.02))
    still = [line for line in run.lines if line.get("still")]
    assert run.summary["still"] == len(still) == 8
    assert all((line["payload_bytes"], line["prediction"]) == (0, None) for line in still)
    assert run.summary["samples"] + len(still) == len(run.lines) == 19


def test_ctrl_c_while_nothing_comes(bundle: Bundle, cloud: CloudProcess) -> None:
    name = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    flags = ["--bundle", str(bundle.path), "--cloud", cloud.listen, "--window", TIME, "--log-level", "info"]
    with edge_process(*flags, "--events", name) as edge:
        assert edge.stderr is not None
        assert any("events can come" in line for line in edge.stderr)
        edge.send_signal(signal.SIGINT)
        assert edge.wait(60) == 130
