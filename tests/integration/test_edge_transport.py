"""The gRPC transport against a server that can be told to misbehave, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from edge_client.link.addresses import Target
from edge_client.link.errors import MOST_RETRY_S, retry_after_s
from edge_client.link.grpc_call import GrpcCall
from edge_client.link.grpc_transport import GrpcTransport
from edge_client.link.security import IN_CLEAR
from protos import co_inference_pb2 as pb
from protos import co_inference_pb2_grpc as pb_grpc
from shared.errors import CloudRefused, CloudUnavailable
from shared.messages import Codec, Frame, Open, Rejection, RejectionCode, StepResult, Stop
from shared.wire import edge_from_wire

Script = Callable[[Any], Awaitable[None]]
READY = pb.CloudMessage(ready=pb.Ready(max_open_samples=4, sample_idle_timeout_ms=1000))
FINGERPRINT = bytes(range(32))


def frame(sample: int, timestep: int = 1) -> Frame:
    return Frame(sample, timestep, Codec.PACKED_BITS, b"\x05")


def result(sample: int, timestep: int = 1, confidences: tuple[float, ...] = (0.25, 0.75)) -> pb.CloudMessage:
    return pb.CloudMessage(
        result=pb.StepResult(sample=sample, timestep=timestep, confidences=confidences, batch_size=1)
    )


@asynccontextmanager
async def cloud(script: Script) -> AsyncIterator[tuple[str, grpc.aio.Server]]:
    """A server whose stream does what `script(context)` does; `context.read()` and `.write()` are the stream."""

    class Servicer(pb_grpc.CoInferenceServicer):
        async def Infer(self, request_iterator: Any, context: Any) -> None:
            await script(context)

    server = grpc.aio.server()
    pb_grpc.add_CoInferenceServicer_to_server(Servicer(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", server
    finally:
        await server.stop(None)


@asynccontextmanager
async def link(
    address: str, deadline_s: float = 5.0, probe_s: float = 60.0, top_k: int = 0
) -> AsyncIterator[GrpcTransport]:
    opening = Open(FINGERPRINT, "rate", top_k)
    transport = GrpcTransport(GrpcCall(Target(address, address), IN_CLEAR, opening, 2, deadline_s), probe_s)
    try:
        yield transport
    finally:
        await transport.close()


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


@pytest.mark.parametrize(
    ("code", "expected", "advice"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, CloudRefused, "with the bundle that this edge has"),
        (grpc.StatusCode.INVALID_ARGUMENT, CloudRefused, "same version"),
        (grpc.StatusCode.UNAUTHENTICATED, CloudRefused, "credentials"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, CloudUnavailable, "busy"),
        (grpc.StatusCode.UNAVAILABLE, CloudUnavailable, ""),
        (grpc.StatusCode.INTERNAL, CloudUnavailable, "still runs"),
    ],
)
async def test_a_refused_stream_says_why(code: grpc.StatusCode, expected: type[Exception], advice: str) -> None:
    async def script(context: Any) -> None:
        await context.read()
        await context.abort(code, "the cloud's\nown words")

    async with cloud(script) as (address, _), link(address) as transport:
        with pytest.raises(expected, match=f"the cloud's own words.*{advice}") as caught:
            await transport.open()
        assert address in str(caught.value)


async def test_a_stream_that_is_refused_before_its_open_is_read_says_why() -> None:
    """As a cloud does that knows no such token: what it says may arrive while Open is still being written."""

    async def script(context: Any) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such token")

    async with cloud(script) as (address, _):
        for _ in range(40):  # each of these lost its status with a chance of one in six
            async with link(address) as transport:
                with pytest.raises(CloudRefused, match="no such token"):
                    await transport.open()


async def test_a_busy_cloud_says_how_long_to_leave_it_alone() -> None:
    status = Status(code=8, message="busy")
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)))

    async def script(context: Any) -> None:
        await context.read()
        await context.abort_with_status(rpc_status.to_status(status))

    async with cloud(script) as (address, _), link(address) as transport:
        with pytest.raises(CloudUnavailable, match="busy") as caught:
            await transport.open()
    assert caught.value.retry_after_s == 1.5


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (Duration(seconds=10**14), MOST_RETRY_S),
        (Duration(seconds=-(10**14)), 0.0),
        (Duration(seconds=2**63 - 1, nanos=2**31 - 1), MOST_RETRY_S),
        (Duration(seconds=1, nanos=-(2**31)), 0.0),
    ],
)
def test_no_cloud_keeps_an_edge_away_for_longer_than_is_good(asked: Duration, seconds: float) -> None:
    status = Status(code=8)
    status.details.add().Pack(RetryInfo(retry_delay=asked))
    assert retry_after_s((("grpc-status-details-bin", status.SerializeToString()),)) == seconds


@pytest.mark.parametrize(
    ("trailing", "seconds"),
    [
        ((), 0.0),
        ((("grpc-status-details-bin", b"\xff\xff"),), 0.0),
        ((("grpc-status-details-bin", Status(code=8).SerializeToString()),), 0.0),
        ((("other-bin", b"1"), ("grpc-status-details-bin", "text")), 0.0),
    ],
)
def test_metadata_that_asks_for_nothing(trailing: Any, seconds: float) -> None:
    assert retry_after_s(trailing) == seconds


async def test_no_server_there() -> None:
    async def never(context: Any) -> None: ...

    async with cloud(never) as (address, server):
        await server.stop(None)
        async with link(address) as transport:
            with pytest.raises(CloudUnavailable, match=rf"no stream to {address} \(.*refused"):
                await transport.open()


async def test_a_server_that_never_answers_open() -> None:
    async def script(context: Any) -> None:
        await asyncio.sleep(60)

    async with cloud(script) as (address, _), link(address, 0.3) as transport:
        with pytest.raises(CloudUnavailable, match=r"within 0\.3 s"):
            await transport.open()


async def test_another_grpc_service_is_no_cloud() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with link(f"127.0.0.1:{port}") as transport:
        with pytest.raises(CloudRefused, match="no neucodex-cloud"):
            await transport.open()
    await server.stop(None)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (result(1), None),
        (pb.CloudMessage(), None),
        (READY, READY),
        (READY, result(1, 1, (0.5, 0.25, 0.25))),
        (READY, result(1, 1, (0.5, 1.5))),
        (READY, pb.CloudMessage()),
    ],
)
async def test_a_cloud_that_breaks_the_protocol(first: pb.CloudMessage, later: pb.CloudMessage | None) -> None:
    async def script(context: Any) -> None:
        await context.read()
        await context.write(first)
        await context.read()
        if later is not None:
            await context.write(later)
        await context.read()

    async def use(transport: GrpcTransport) -> None:
        await transport.open()
        sample = transport.open_sample()
        sample.send(frame(1))
        await sample.receive(5.0)

    async with cloud(script) as (address, _), link(address) as transport:
        with pytest.raises(CloudRefused, match=r"breaks the protocol.*same version"):
            await use(transport)


@pytest.mark.parametrize("before", [[], [READY.SerializeToString()]])
async def test_bytes_that_are_no_message_end_the_stream(before: list[bytes]) -> None:
    async def infer(request_iterator: Any, context: Any) -> None:
        for message in (*before, b"\xff"):
            await context.write(message)
        await context.read()
        await context.read()

    async def use(transport: GrpcTransport) -> None:
        lost = asyncio.get_running_loop().create_future()
        await transport.open(lost.set_result)
        raise await asyncio.wait_for(lost, 5.0)

    server = grpc.aio.server()
    methods = {"Infer": grpc.stream_stream_rpc_method_handler(infer)}
    service = pb.DESCRIPTOR.services_by_name["CoInference"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with link(f"127.0.0.1:{port}") as transport:
            with pytest.raises(CloudRefused, match="breaks the protocol"):
                await use(transport)
    finally:
        await server.stop(None)


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
            await asyncio.sleep(60)

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
