"""A stream to a cloud without an edge's manners: says anything, in any order, and shows what comes back."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from protos import co_inference_pb2 as pb
from shared.bundle import Bundle
from shared.messages import CloudMessage, EdgeMessage, Frame, Open, Ready, Rejection, StepResult, Stop
from shared.security import AUTHORIZATION, bearer
from shared.spike_codec import SpikeCodec
from shared.wire import cloud_from_wire, edge_to_wire
from tests.support.processes import DEADLINE

METHOD = "/neucodex.v1.CoInference/Infer"
EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in its stubs

OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
    ("grpc.http2.bdp_probe", 0),  # as edges have it; with it, the window of one that does not read grows without end
]


class RawEdge:
    """One channel with one stream. As a context manager it has sent Open and has read Ready.

    `timeout` is the stream's gRPC deadline in seconds, `token` the one that it sends.
    """

    def __init__(
        self, address: str, bundle: Bundle, top_k: int = 0, timeout: float | None = None, token: str | None = None
    ) -> None:
        self.bundle = bundle
        self.codec = SpikeCodec(bundle.manifest.frame_shape)
        self.ready: Ready | None = None
        self._top_k = top_k
        self.channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        infer: Any = self.channel.stream_stream(
            METHOD, request_serializer=None, response_deserializer=pb.CloudMessage.FromString
        )
        self.call: Any = infer(timeout=timeout, metadata=[(AUTHORIZATION, bearer(token))] if token else None)

    async def __aenter__(self) -> RawEdge:
        await self.send(Open(self.bundle.fingerprint, self.bundle.execution, self._top_k))
        ready = await self.receive()
        assert isinstance(ready, Ready)
        self.ready = ready
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cut the stream and the connection."""
        self.call.cancel()
        await self.channel.close(None)

    async def send(self, message: EdgeMessage) -> None:
        await self.send_bytes(edge_to_wire(message).SerializeToString())

    async def send_bytes(self, raw: bytes) -> None:
        await asyncio.wait_for(self.call.write(raw), DEADLINE)

    async def send_frame(self, sample: int, timestep: int, spikes: NDArray[np.uint8]) -> None:
        codec, data = self.codec.encode(spikes)
        await self.send(Frame(sample, timestep, codec, data))

    async def stop(self, sample: int) -> None:
        await self.send(Stop(sample))

    async def receive(self) -> CloudMessage:
        """The next message; a stream that ended raises its grpc.aio.AioRpcError, or EOFError if it ended well."""
        message = await asyncio.wait_for(self.call.read(), DEADLINE)
        if message is EOF:
            raise EOFError
        return cloud_from_wire(message, self.bundle.manifest.network.classes, self._top_k)

    async def result(self) -> StepResult:
        """The next message, which must be a step result."""
        message = await self.receive()
        assert isinstance(message, StepResult), message
        return message

    async def rejection(self) -> Rejection:
        """The next message, which must be a rejection."""
        message = await self.receive()
        assert isinstance(message, Rejection), message
        return message

    async def step(self, sample: int, timestep: int, spikes: NDArray[np.uint8]) -> StepResult:
        """Send one frame and wait for its result, as a lockstep edge does."""
        await self.send_frame(sample, timestep, spikes)
        result = await self.result()
        assert (result.sample, result.timestep) == (sample, timestep)
        return result

    async def end(self) -> grpc.StatusCode:
        """Read until the stream ends and give its status code."""
        try:
            while await asyncio.wait_for(self.call.read(), DEADLINE) is not EOF:
                pass
        except grpc.aio.AioRpcError:
            pass
        code: grpc.StatusCode = await asyncio.wait_for(self.call.code(), DEADLINE)
        return code
