"""Edges that die, flood, stall, lie and never listen. After each: other streams' answers unchanged, nothing leaked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.messages import Frame, Open, StepResult
from shared.wire import edge_to_wire
from tests.support.known import SAMPLES, assert_close
from tests.support.processes import CloudProcess, cloud_process, wait_for
from tests.support.raw_edge import RawEdge

SPARE_DESCRIPTORS = 4
"""gRPC keeps a few of its own beyond what was open before."""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[CloudProcess]:
    flags = ("--slots", "48", "--max-open-samples", "40", "--max-outgoing", "8")
    with cloud_process(tmp_path_factory.mktemp("cloud"), [bundle.path], *flags) as process:
        yield process
        assert "Traceback" not in process.log.read_text()


class Witness:
    """An honest lockstep edge beside the fault: it counts samples answered, and every answer must be the reference."""

    def __init__(
        self, cloud: CloudProcess, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
    ) -> None:
        self.cloud, self.bundle, self.frames, self.expected = cloud, bundle, frames, expected
        self.answered = 0

    async def watch(self, done: asyncio.Event) -> None:
        async with RawEdge(self.cloud.listen, self.bundle) as edge:
            while not done.is_set():
                known = self.answered % SAMPLES
                for timestep in range(1, 5):
                    result = await edge.step(self.answered, timestep, self.frames[timestep - 1, known])
                    assert_close(result.confidences, self.expected, known, timestep)
                await edge.stop(self.answered)
                self.answered += 1


@pytest.fixture
async def witness(cloud, bundle, frames, expected):
    """Runs beside the test's fault; then nothing may be left of it."""
    await asyncio.to_thread(wait_for, lambda: cloud.metric("neucodex_cloud_streams") == 0, "a quiet start")
    async with RawEdge(cloud.listen, bundle) as edge:
        await edge.step(0, 1, frames[0, 0])
    threads, descriptors = cloud.threads(), cloud.descriptors()
    seen, done = Witness(cloud, bundle, frames, expected), asyncio.Event()
    watching = asyncio.create_task(seen.watch(done))
    yield seen
    before = seen.answered
    await asyncio.to_thread(wait_for, lambda: seen.answered > before or watching.done(), "the witness to be served")
    done.set()
    await watching
    for what, least in (("streams", 0), ("slots_in_use", 0), ("queue_length", 0)):
        name = f"neucodex_cloud_{what}"
        await asyncio.to_thread(wait_for, lambda name=name, least=least: cloud.metric(name) == least, f"no {what}")
    await asyncio.to_thread(
        wait_for, lambda: cloud.descriptors() <= descriptors + SPARE_DESCRIPTORS, "descriptors to be closed"
    )
    assert cloud.threads() <= threads + 4, "threads leak (gRPC's own pool may still grow by its few)"
    assert cloud.process.poll() is None


async def test_edges_that_die_mid_sample(witness, cloud, bundle, frames):
    for _ in range(20):
        edge = RawEdge(cloud.listen, bundle)
        await edge.__aenter__()
        for timestep in (1, 2, 3):
            await edge.send_frame(0, timestep, frames[timestep - 1, 0])
        await edge.close()


async def test_streams_cut_at_every_message_boundary(witness, cloud, bundle, frames):
    life = [("open", 0), *[("frame", t) for t in range(1, 5)], ("stop", 0)]
    for cut in range(len(life) + 1):
        for read in range(min(cut, 5) + 1):
            edge = RawEdge(cloud.listen, bundle)
            for kind, timestep in life[:cut]:
                if kind == "open":
                    await edge.send(Open(bundle.fingerprint))
                elif kind == "frame":
                    await edge.send_frame(0, timestep, frames[timestep - 1, 0])
                else:
                    await edge.stop(0)
            for _ in range(min(read, 1 + 4 * (cut == 5))):
                await edge.receive()
            await edge.close()


async def test_a_flood_waits_behind_the_others(witness, cloud, bundle, frames):
    async with RawEdge(cloud.listen, bundle) as edge:

        async def flood() -> None:
            for sample in range(40 * 5):
                for timestep in range(1, 5):
                    await edge.send_frame(sample, timestep, frames[timestep - 1, 0])

        flooding = asyncio.create_task(flood())
        answers = 0
        while not flooding.done() or answers < 40:
            answers += isinstance(await edge.receive(), StepResult)
        await flooding


async def test_an_edge_that_never_reads(witness, cloud, bundle, frames):
    edge = RawEdge(cloud.listen, bundle)
    await edge.send(Open(bundle.fingerprint))
    codec, data = edge.codec.encode(frames[0, 0])
    repeated = edge_to_wire(Frame(1, 1, codec, data)).SerializeToString()

    written = 0

    async def shout() -> None:
        nonlocal written
        while True:
            await edge.call.write(repeated)
            written += 1

    shouting = asyncio.create_task(shout())
    # The cloud reads no more when its answers pile up: writing stalls as soon as the windows of HTTP/2 are full.
    before, quiet = -1, 0
    for _ in range(300):
        before, quiet = written, quiet + 1 if written == before else 0
        if quiet == 3:
            break
        await asyncio.sleep(0.1)
    assert quiet == 3, f"{written} frames were taken from an edge that reads no answer"
    assert not shouting.done()
    shouting.cancel()
    await edge.close()


async def test_garbage_and_open_connections_that_say_nothing(witness, cloud, bundle):
    host, port = cloud.listen.split(":")
    silent = [socket.create_connection((host, int(port)), timeout=10) for _ in range(10)]
    for number in range(10):
        with socket.create_connection((host, int(port)), timeout=10) as broken:
            broken.sendall(bytes([number]) * 1000)
    for number in range(10):
        edge = RawEdge(cloud.listen, bundle)
        await edge.send(Open(bundle.fingerprint))
        await edge.send_bytes(bytes([255 - number]) * (number + 1))
        assert await edge.end() is grpc.StatusCode.INVALID_ARGUMENT
        await edge.close()
    for connection in silent:
        connection.close()


async def test_many_streams_at_once(witness, cloud, bundle, frames):
    async def one() -> int:
        async with RawEdge(cloud.listen, bundle) as edge:
            answers = 0
            for timestep in range(1, 5):
                await edge.send_frame(0, timestep, frames[timestep - 1, 0])
            for _ in range(4):
                answers += isinstance(await edge.receive(), StepResult)
            return answers

    assert sum(await asyncio.gather(*(one() for _ in range(40)))) == 160
