"""What the gRPC transport makes of servers that refuse, are none, or break the protocol."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from edge_client.link.errors import MOST_RETRY_S, retry_after_s
from edge_client.link.grpc_transport import GrpcTransport
from protos import co_inference_pb2 as pb
from shared.errors import CloudRefused, CloudUnavailable
from tests.support.scripted_cloud import (
    READY,
    cloud,
    frame,
    link,
    result,
)


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
        await asyncio.Event().wait()  # for ever

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
