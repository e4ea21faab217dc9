"""Edges that die, flood, stall, lie and never listen. After each: other streams' answers unchanged, nothing leaked."""

from __future__ import annotations

import asyncio
import socket

import grpc

from shared.messages import Frame, Open, RejectionCode, StepResult
from shared.wire import edge_to_wire
from tests.support.dark_link import DarkLink
from tests.support.known import assert_close
from tests.support.processes import wait_for
from tests.support.raw_edge import RawEdge

MANY = 1_000_000
"""Frames of 42 bytes that no window of HTTP/2 and no buffer of a connection hold."""


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
                    await edge.send(Open(bundle.fingerprint, bundle.execution))
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
    await edge.send(Open(bundle.fingerprint, bundle.execution))
    codec, data = edge.codec.encode(frames[0, 0])
    repeated = edge_to_wire(Frame(1, 1, codec, data)).SerializeToString()

    written = 0

    async def shout() -> None:
        nonlocal written
        while True:
            await edge.call.write(repeated)
            written += 1

    shouting = asyncio.create_task(shout())
    # The cloud reads no more when its answers pile up: writing stalls as soon as the windows of HTTP/2 are full. The
    # cloud counts its tasks once a second; if it took no frame from one count to the next, it reads no more.
    stalled = False
    while not stalled:
        assert written < MANY, f"{written} frames were taken from an edge that reads no answer"
        before = written
        await asyncio.to_thread(cloud.next_count)
        await asyncio.to_thread(cloud.next_count)
        stalled = written == before > 0
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
        await edge.send(Open(bundle.fingerprint, bundle.execution))
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


async def test_edges_that_stall_lose_their_sample_and_keep_their_stream(witness, cloud, bundle, frames, expected):
    edges = [RawEdge(cloud.listen, bundle) for _ in range(10)]
    for edge in edges:
        await edge.__aenter__()
        await edge.step(0, 1, frames[0, 0])
    for edge in edges:
        assert (await edge.rejection()).code is RejectionCode.IDLE
        assert_close((await edge.step(0, 1, frames[0, 1])).confidences, expected, 1, 1)
        await edge.close()


async def test_streams_that_open_and_never_send(witness, cloud, bundle):
    opened = [await RawEdge(cloud.listen, bundle).__aenter__() for _ in range(10)]
    silent = [RawEdge(cloud.listen, bundle) for _ in range(10)]
    for edge in silent:
        assert await edge.end() is grpc.StatusCode.INVALID_ARGUMENT
        await edge.close()
    for edge in opened:
        assert not edge.call.done(), "an edge may wait for its next picture as long as it likes"
        await edge.close()


async def test_edges_whose_link_goes_dark(witness, cloud, bundle, frames):
    """Half-open TCP: the edge is gone and no packet says so."""
    async with DarkLink(cloud.listen) as link:
        edges = [await RawEdge(link.listen, bundle).__aenter__() for _ in range(5)]
        for edge in edges:
            await edge.step(0, 1, frames[0, 0])
            await edge.send_frame(0, 2, frames[1, 0])
        link.darken()
        await asyncio.to_thread(
            wait_for, lambda: cloud.metric("neucodex_cloud_streams") <= 1, "the lost edges to be given up"
        )
        for edge in edges:
            await edge.close()


async def test_out_of_slots_open_samples_finish_and_new_ones_are_rejected_for_now(
    witness, cloud, bundle, frames, expected
):
    async with RawEdge(cloud.listen, bundle) as one, RawEdge(cloud.listen, bundle) as two:
        held = []
        while not witness.put_off:
            for edge in (one, two):
                number = len(held)
                await edge.send_frame(number, 1, frames[0, 0])
                answer = await edge.receive()
                if isinstance(answer, StepResult):
                    held.append((edge, number))
                else:
                    assert answer.code is RejectionCode.NO_SLOT
                    assert answer.retry_after_ms > 0
                    for each, sample in held[-8:]:  # or they are idle before the witness comes by
                        await each.step(sample, 1, frames[0, 0])
        for timestep in (2, 3):
            result = await held[-1][0].step(held[-1][1], timestep, frames[timestep - 1, 0])
            assert_close(result.confidences, expected, 0, timestep)
