"""One gRPC call to one cloud: our messages out and in, and every failure as one of our exceptions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
import grpc.aio

from edge_client.link.addresses import Target
from edge_client.link.base import Reply
from edge_client.link.errors import from_status, not_in_time, not_reached, retry_after_s, spoke_wrongly
from edge_client.link.security import LinkSecurity
from protos import co_inference_pb2 as pb
from protos import co_inference_pb2_grpc as pb_grpc
from shared.deadline import within
from shared.errors import CloudUnavailable, NeucodexError, WireError
from shared.messages import EdgeMessage, Open, Ready, Stop
from shared.wire import cloud_from_wire, edge_to_wire

KEEPALIVE_S = 330
"""A server with gRPC's default settings hangs up (too_many_pings) on pings less than 300 s apart."""

DEAD_LINK_S = 10
"""Bytes that are not acknowledged for this long end the connection (gRPC sets TCP_USER_TIMEOUT to it)."""

OPENINGS = 8
"""Most streams that are opened to learn why a server refuses. On loopback one in six loses the reason."""

CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
    ("grpc.keepalive_timeout_ms", DEAD_LINK_S * 1000),
    ("grpc.keepalive_permit_without_calls", 0),
    # Frames of some bytes need no bandwidth estimate; its pings would be a quarter of what is sent.
    ("grpc.http2.bdp_probe", 0),
    # Each call has a connection of its own: the link chooses the pause before another try, not gRPC.
    ("grpc.use_local_subchannel_pool", 1),
)


class GrpcCall:
    """A bidirectional call of grpc.aio, opened with Open and Ready.

    Args:
        target: the machine to connect to.
        security: how to connect.
        opening: the first message: which bundle this edge runs, how, and which answers it wants.
        classes: how many classes the bundle has; answers that do not fit are refused.
        connect_deadline_s: seconds for the connection, Open and Ready together.
    """

    def __init__(
        self, target: Target, security: LinkSecurity, opening: Open, classes: int, connect_deadline_s: float
    ) -> None:
        self.address = target.address
        self._target = target
        self._security = security
        self._opening = opening
        self._classes = classes
        self._connect_deadline_s = connect_deadline_s
        self._agreed = False
        self._channel: grpc.aio.Channel | None = None
        self._call: grpc.aio.StreamStreamCall[pb.EdgeMessage, pb.CloudMessage] | None = None

    async def open(self) -> Ready:
        """Connect, send Open, and wait for Ready. A call that fails is closed.

        Raises:
            CloudUnavailable: the cloud did not answer within the deadline.
            CloudRefused: the cloud does not serve this edge.
        """
        # The name, not the number: some proxies choose a server by name.
        options = (*CHANNEL_OPTIONS, ("grpc.default_authority", self._target.authority))
        self._channel = self._security.channel(self._target, options)
        stub: pb_grpc.CoInferenceAsyncStub = pb_grpc.CoInferenceStub(self._channel)  # type: ignore[assignment]
        try:
            return await within(self._connect_deadline_s, self._handshake(stub))
        except TimeoutError:
            await self.close()
            raise not_in_time(self.address, self._connect_deadline_s) from None
        except NeucodexError:
            await self.close()
            raise

    async def write(self, message: EdgeMessage, stops: Sequence[Stop] = ()) -> None:
        """Send a message, and the Stops that travel with it. It has left this process when this returns.

        Raises:
            CloudUnavailable, CloudRefused: the call has ended.
        """
        assert self._call is not None
        try:
            await self._call.write(edge_to_wire(message, stops))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise await self._why_it_ended() from None

    async def read(self) -> Reply:
        """The cloud's next answer.

        Raises:
            CloudUnavailable: the call has ended.
            CloudRefused: the call has ended, or the cloud breaks the protocol.
        """
        message = await self._read()
        if isinstance(message, Ready):
            raise spoke_wrongly(self.address, "it sent Ready twice")
        return message

    async def close(self) -> None:
        """End the call and its connection. May be called twice, and before `open`."""
        if self._call is not None:
            self._call.cancel()
        if self._channel is not None:
            await self._channel.close(grace=None)

    async def _handshake(self, stub: pb_grpc.CoInferenceAsyncStub) -> Ready:
        await self._begin(stub)
        ready = await self._read()
        if not isinstance(ready, Ready):
            raise spoke_wrongly(self.address, f"its first message is a {type(ready).__name__}, not Ready")
        self._agreed = True
        return ready

    async def _begin(self, stub: pb_grpc.CoInferenceAsyncStub) -> None:
        """Open a stream and write Open; do it again where grpc.aio lost the status of a server that refused meanwhile.

        A write that fails because the server has ended the stream sets INTERNAL if the server's own status has not been
        read yet (grpc/grpc#36066). An edge with a wrong token would then try without end, and never learn why.
        """
        opening, metadata = edge_to_wire(self._opening), self._security.metadata()
        for left in reversed(range(OPENINGS)):
            self._call = stub.Infer(None, metadata=metadata)
            try:
                await self._call.write(opening)
                return
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                if not left or await self._call.code() is not grpc.StatusCode.INTERNAL:
                    raise await self._why_it_ended() from None

    async def _read(self) -> Ready | Reply:
        assert self._call is not None
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError:
            raise await self._why_it_ended() from None
        if message is grpc.aio.EOF:
            raise await self._why_it_ended()
        # gRPC reads None where the bytes are no message; the stream has not ended.
        if not isinstance(message, pb.CloudMessage):
            raise spoke_wrongly(self.address, "bytes that are no CloudMessage")
        try:
            return cloud_from_wire(message, self._classes, self._opening.top_k)
        except WireError as error:
            raise spoke_wrongly(self.address, str(error)) from None

    async def _why_it_ended(self) -> NeucodexError:
        assert self._call is not None
        code = await self._call.code()
        details = await self._call.details()
        if not self._agreed and code is grpc.StatusCode.UNAVAILABLE:
            why: NeucodexError = not_reached(self.address, details or "")
        else:
            why = from_status(self.address, code, details or "")
        if isinstance(why, CloudUnavailable):
            why.retry_after_s = retry_after_s(await self._call.trailing_metadata() or ())
        return why
