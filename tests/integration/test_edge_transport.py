"""The gRPC transport against a server that can be told to misbehave, in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from edge_client.link.addresses import Target
from edge_client.link.grpc_call import GrpcCall
from edge_client.link.grpc_transport import GrpcTransport
from edge_client.link.security import IN_CLEAR
from protos import co_inference_pb2 as pb
from shared.errors import CloudRefused, CloudUnavailable
from shared.messages import Open, Rejection, RejectionCode, StepResult, Stop
from shared.wire import edge_from_wire
from tests.support.scripted_cloud import (
    FINGERPRINT,
    READY,
    cloud,
    frame,
    link,
    result,
)


async def test_answers_find_their_samples() -> None:
    seen: list[pb.EdgeMessage] = []

    async def script(context: Any) -> None:
        seen.append(await context.read())
        await context.write(READY)
        while (message := await context.read()) is not grpc.aio.EOF:
            seen.append(message)
            if message.stopped:
                await context.write(result(message.stopped[0], 2))  # too late
            elif message.frame.sample == 2:
                await context.write(result(1))
                await context.write(result(2))
                rejection = pb.Rejection(sample=2, code=pb.Rejection.CODE_NO_SLOT, reason="full", retry_after_ms=7)
                await context.write(pb.CloudMessage(rejection=rejection))

    async with cloud(script) as (address, _), link(address) as transport:
        assert (await transport.open()).max_open_samples == 4
        first, second = transport.open_sample(), transport.open_sample()
        for sample in (first, second):
            sample.send(frame(sample.number))
        assert await second.receive(5.0) == StepResult(2, 1, (0.25, 0.75))
        assert first.has_answer
        first.stop()
        assert await second.receive(5.0) == Rejection(2, RejectionCode.NO_SLOT, "full", 7)
    opened = seen[0].open
    assert (opened.protocol_version, opened.fingerprint, opened.top_k) == (1, FINGERPRINT, 0)
    assert opened.execution == pb.EXECUTION_RATE
    assert seen[1].frame == pb.Frame(sample=1, timestep=1, codec=pb.CODEC_PACKED_BITS, spikes=b"\x05")


async def test_silence_is_a_timeout_and_a_late_answer_still_counts() -> None:
    ask = asyncio.Event()

    async def script(context: Any) -> None:
        await context.read()
        await context.write(READY)
        asked = (await context.read()).frame
        await ask.wait()
        await context.write(result(asked.sample))
        await context.read()

    async with cloud(script) as (address, _), link(address) as transport:
        await transport.open()
        sample = transport.open_sample()
        sample.send(frame(1))
        with pytest.raises(TimeoutError):
            await sample.receive(0.02)
        ask.set()
        assert await sample.receive(5.0) == StepResult(1, 1, (0.25, 0.75))


@pytest.mark.parametrize("how", ["ends", "aborts", "dies"])
async def test_a_lost_link_reaches_every_waiting_sample_and_every_later_call(how: str) -> None:
    go = asyncio.Event()

    async def script(context: Any) -> None:
        await context.read()
        await context.write(READY)
        await go.wait()
        if how == "aborts":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        if how == "dies":
            await asyncio.Event().wait()  # for ever

    async with cloud(script) as (address, server), link(address) as transport:
        await transport.open()
        samples = [transport.open_sample(), transport.open_sample()]
        for sample in samples:
            sample.send(frame(sample.number))
        waiting = [asyncio.create_task(sample.receive(10.0)) for sample in samples]
        await asyncio.sleep(0)
        assert transport.close_reason is None
        go.set()
        if how == "dies":
            await server.stop(None)
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, CloudUnavailable)
        assert isinstance(transport.close_reason, CloudUnavailable)
        with pytest.raises(CloudUnavailable):
            samples[0].send(frame(1, 2))
        with pytest.raises(CloudUnavailable):
            await samples[0].receive(1.0)


async def test_close_is_quiet_before_open_and_twice() -> None:
    call = GrpcCall(Target("127.0.0.1:1", "nowhere:1"), IN_CLEAR, Open(FINGERPRINT), 2, 0.1)
    transport = GrpcTransport(call)
    await transport.close()
    await transport.close()


async def test_who_sends_is_told_when_it_has_left_and_not_after_a_stop() -> None:
    async def script(context: Any) -> None:
        await context.read()
        await context.write(READY)
        while (message := await context.read()) is not grpc.aio.EOF:
            if message.WhichOneof("kind") == "frame":
                await context.write(result(message.frame.sample, message.frame.timestep))

    told: list[str] = []
    async with cloud(script) as (address, _), link(address) as transport:
        await transport.open()
        stopped, other = transport.open_sample(), transport.open_sample()
        for sample in (stopped, other):
            sample.send(frame(sample.number))
        stopped.when_flushed(lambda: told.append("stopped"))
        stopped.stop()
        left = asyncio.Event()
        other.when_flushed(left.set)
        assert not left.is_set(), "the task that writes has not run yet"
        await asyncio.wait_for(left.wait(), 5.0)
        assert await other.receive(5.0) == StepResult(2, 1, (0.25, 0.75))
        other.when_flushed(lambda: told.append("at once"))
        assert told == ["at once"]


async def test_a_stop_drops_what_has_not_left() -> None:
    seen: list[pb.EdgeMessage] = []

    async def script(context: Any) -> None:
        await context.read()
        await context.write(READY)
        while (message := await context.read()) is not grpc.aio.EOF:
            seen.append(message)
            if message.WhichOneof("kind") == "frame":
                await context.write(result(message.frame.sample, message.frame.timestep))

    async with cloud(script) as (address, _), link(address) as transport:
        await transport.open()
        first, second, third = (transport.open_sample() for _ in range(3))
        first.send(frame(1))
        await first.receive(5.0)
        second.send(frame(2))
        third.send(frame(3))
        # Nothing was awaited in between: neither has left, and the cloud has never heard of sample 2.
        assert second.stop() == [frame(2), Stop(2)]
        assert await third.receive(5.0) == StepResult(3, 1, (0.25, 0.75))
    assert [edge_from_wire(message) for message in seen] == [(frame(1),), (frame(3),)]


async def test_answers_are_as_short_as_was_asked_for() -> None:
    opened: list[pb.Open] = []

    async def script(context: Any) -> None:
        opened.append((await context.read()).open)
        await context.write(READY)
        for answer in (
            pb.StepResult(sample=1, timestep=1, confidences=[0.75], classes=[1], batch_size=1),
            result(1, 2).result,
        ):
            await context.read()
            await context.write(pb.CloudMessage(result=answer))
        await context.read()

    async with cloud(script) as (address, _), link(address, top_k=1) as transport:
        await transport.open()
        sample = transport.open_sample()
        sample.send(frame(1))
        answer = await sample.receive(5.0)
        assert answer == StepResult(1, 1, (0.75,), (1,))
        assert answer.prediction == 1
        sample.send(frame(1, 2))
        with pytest.raises(CloudRefused, match="top 1"):
            await sample.receive(5.0)
    assert opened[0].top_k == 1


async def test_stops_travel_with_the_next_frame_or_at_last_alone() -> None:
    seen: list[pb.EdgeMessage] = []
    told = asyncio.Event()

    async def script(context: Any) -> None:
        await context.read()
        await context.write(READY)
        while (message := await context.read()) is not grpc.aio.EOF:
            seen.append(message)
            if message.HasField("frame"):
                await context.write(result(message.frame.sample, message.frame.timestep))
            else:
                told.set()

    async with cloud(script) as (address, _), link(address) as transport:
        await transport.open()
        first, second, third = (transport.open_sample() for _ in range(3))
        for sample in (first, second):
            sample.send(frame(sample.number))
            await sample.receive(5.0)
        assert second.stop() == []
        assert first.stop() == []
        third.send(frame(3))
        await third.receive(5.0)
        assert third.stop() == []
        await asyncio.wait_for(told.wait(), 5.0)
    assert [edge_from_wire(message) for message in seen] == [
        (frame(1),), (frame(2),), (Stop(2), Stop(1), frame(3)), (Stop(3),),
    ]  # fmt: skip


async def test_a_stop_of_frames_under_way_leaves_at_once_and_takes_those_that_wait_along() -> None:
    seen: list[pb.EdgeMessage] = []
    arrived = asyncio.Event()

    async def script(context: Any) -> None:
        await context.read()
        await context.write(READY)
        while (message := await context.read()) is not grpc.aio.EOF:
            seen.append(message)
            if len(seen) == 1:
                await context.write(result(1))
            elif len(seen) == 3:
                arrived.set()
            elif message.stopped:
                await context.write(result(3))

    async with cloud(script) as (address, _), link(address) as transport:
        await transport.open()
        answered, under_way, third = (transport.open_sample() for _ in range(3))
        for sample in (answered, under_way, third):
            sample.send(frame(sample.number))
        await asyncio.wait_for(arrived.wait(), 5.0)
        await answered.receive(5.0)
        assert answered.stop() == []
        assert under_way.stop() == []
        assert await third.receive(5.0) == StepResult(3, 1, (0.25, 0.75))
    assert [edge_from_wire(message) for message in seen][3:] == [(Stop(1), Stop(2))]


async def test_a_waiting_edge_makes_sure_that_the_link_lives() -> None:
    probed = asyncio.Event()

    async def script(context: Any) -> None:
        await context.read()
        await context.write(READY)
        asked = (await context.read()).frame
        probe = await context.read()  # a Stop for a sample that there never is
        assert edge_from_wire(probe) == (Stop(0),)
        probed.set()
        await context.write(result(asked.sample))
        await context.read()

    async with cloud(script) as (address, _), link(address, probe_s=0.05) as transport:
        await transport.open()
        sample = transport.open_sample()
        sample.send(frame(1))
        assert await sample.receive(5.0) == StepResult(1, 1, (0.25, 0.75))
        assert probed.is_set()
