"""A gRPC server in this process that does what a test scripts, and a transport to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from edge_client.link.addresses import Target
from edge_client.link.grpc_call import GrpcCall
from edge_client.link.grpc_transport import GrpcTransport
from edge_client.link.security import IN_CLEAR
from protos import co_inference_pb2 as pb
from protos import co_inference_pb2_grpc as pb_grpc
from shared.messages import Codec, Frame, Open

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
async def answering(*, reject: str | None = None) -> AsyncIterator[str]:
    """A cloud that is sure of the first class, or rejects each sample for this reason. Gives its address."""

    async def script(context: Any) -> None:
        await context.read()
        await context.write(READY)
        while (message := await context.read()) is not grpc.aio.EOF:
            if message.WhichOneof("kind") != "frame":
                continue
            number, timestep = message.frame.sample, message.frame.timestep
            answer = pb.CloudMessage(
                result=pb.StepResult(sample=number, timestep=timestep, confidences=[1.0], classes=[0])
            )
            if reject is not None:
                code = pb.Rejection.CODE_INTERNAL
                answer = pb.CloudMessage(rejection=pb.Rejection(sample=number, code=code, reason=reject))
            await context.write(answer)

    async with cloud(script) as (address, _):
        yield address


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
