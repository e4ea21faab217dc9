"""What carries frames to a cloud and its answers back: the interface that the loop knows, and its gRPC form.

One bidirectional stream is opened once and carries all samples. A reader task takes what comes and puts it into the
inbox of the sample it belongs to. A sample's inbox lives from its first frame to its Stop or its rejection; what
arrives later is of no use to anyone and is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

import grpc
import grpc.aio

from edge_client.link_errors import from_status, not_there, spoke_wrongly
from protos import co_inference_pb2 as pb
from protos import co_inference_pb2_grpc as pb_grpc
from shared.errors import CloudUnavailable, NeucodexError, WireError
from shared.messages import EdgeMessage, Frame, Open, Ready, Rejection, StepResult, Stop
from shared.wire import cloud_from_wire, edge_to_wire

Answer = StepResult | Rejection

KEEPALIVE_S = 330
"""A server that follows gRPC's defaults hangs up (too_many_pings) on pings less than 300 s apart."""

DEAD_LINK_S = 10
"""What was sent and is not acknowledged for this long ends the connection (gRPC sets TCP_USER_TIMEOUT to it)."""

CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
    ("grpc.keepalive_timeout_ms", DEAD_LINK_S * 1000),
    ("grpc.keepalive_permit_without_calls", 0),
    # Frames of some bytes need no bandwidth estimate; its pings would be a quarter of what is sent.
    ("grpc.http2.bdp_probe", 0),
    # A cloud that is just starting is found soon, not after gRPC's first second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class Transport(Protocol):
    """A link to one cloud. Sample numbers are the caller's, unique among the samples it has open."""

    async def open(self) -> Ready:
        """Connect and agree on the bundle; call it once, before anything else.

        Raises:
            CloudUnavailable: nobody answered within the deadline.
            CloudRefused: the cloud does not serve this edge.
        """

    async def send(self, message: Frame | Stop) -> None:
        """Send; a Stop also forgets what has come for its sample.

        Raises:
            CloudUnavailable, CloudRefused: the link is lost; it does not come back.
        """

    async def receive(self, sample: int, within_s: float) -> Answer:
        """The next answer for an open sample, in the cloud's order. A Rejection is its last.

        Raises:
            TimeoutError: nothing came within `within_s` seconds.
            CloudUnavailable, CloudRefused: the link is lost; it does not come back.
        """

    def arrived(self, sample: int) -> bool:
        """Whether `receive` would return at once."""

    async def close(self) -> None:
        """End the stream; the cloud frees what it held. May be called twice, and before `open`."""


class GrpcTransport:
    """A `Transport` over one grpc.aio stream.

    Args:
        address: HOST:PORT as gRPC takes it.
        fingerprint: of the bundle that this edge runs.
        classes: of that bundle; answers that do not fit it are refused.
        connect_deadline_s: for the connection, Open and Ready together.
    """

    def __init__(self, address: str, fingerprint: bytes, classes: int, connect_deadline_s: float) -> None:
        self._address = address
        self._fingerprint = fingerprint
        self._classes = classes
        self._connect_deadline_s = connect_deadline_s
        self._inboxes: dict[int, _Inbox] = {}
        self._lost: NeucodexError | None = None
        self._channel: grpc.aio.Channel | None = None
        self._call: grpc.aio.StreamStreamCall[pb.EdgeMessage, pb.CloudMessage] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def open(self) -> Ready:
        self._channel = grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS)
        stub: pb_grpc.CoInferenceAsyncStub = pb_grpc.CoInferenceStub(self._channel)  # type: ignore[assignment]
        self._call = stub.Infer(None, wait_for_ready=True)
        try:
            ready = await asyncio.wait_for(self._handshake(), self._connect_deadline_s)
        except (asyncio.TimeoutError, TimeoutError):  # one and the same from Python 3.11 on
            await self.close()
            raise not_there(self._address, self._connect_deadline_s) from None
        except NeucodexError:
            await self.close()
            raise
        self._reader = asyncio.create_task(self._read_all(), name="answers from the cloud")
        return ready

    async def send(self, message: Frame | Stop) -> None:
        if isinstance(message, Stop):
            self._inboxes.pop(message.sample, None)
        else:
            self._inboxes.setdefault(message.sample, _Inbox())
        await self._write(message)

    async def receive(self, sample: int, within_s: float) -> Answer:
        if self._lost is not None:
            raise self._lost
        answer = await self._inboxes[sample].take(within_s)
        if isinstance(answer, Rejection):
            self._inboxes.pop(sample, None)
        return answer

    def arrived(self, sample: int) -> bool:
        return bool(self._inboxes[sample].answers)

    async def close(self) -> None:
        if self._lost is None:
            self._lost = CloudUnavailable(f"the stream to {self._address} was closed")
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._call is not None:
            self._call.cancel()
        if self._channel is not None:
            await self._channel.close(grace=None)

    async def _handshake(self) -> Ready:
        await self._write(Open(self._fingerprint))
        ready = await self._read()
        if not isinstance(ready, Ready):
            raise spoke_wrongly(self._address, f"its first message is a {type(ready).__name__}, not Ready")
        return ready

    async def _write(self, message: EdgeMessage) -> None:
        if self._lost is not None:
            raise self._lost
        assert self._call is not None
        try:
            async with self._writing:  # gRPC takes one message at a time
                await self._call.write(edge_to_wire(message))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise await self._why_it_ended() from None

    async def _read(self) -> Ready | Answer:
        assert self._call is not None
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError:
            raise await self._why_it_ended() from None
        if not isinstance(message, pb.CloudMessage):  # grpc.aio.EOF
            raise await self._why_it_ended()
        try:
            return cloud_from_wire(message, self._classes)
        except WireError as error:
            raise spoke_wrongly(self._address, str(error)) from None

    async def _read_all(self) -> None:
        try:
            while True:
                message = await self._read()
                if isinstance(message, Ready):
                    raise spoke_wrongly(self._address, "it sent Ready twice")
                inbox = self._inboxes.get(message.sample)
                if inbox is not None:
                    inbox.put(message)
        except NeucodexError as error:
            self._lost = error
            for inbox in self._inboxes.values():
                inbox.put(error)

    async def _why_it_ended(self) -> NeucodexError:
        assert self._call is not None
        code = await self._call.code()
        details = await self._call.details()
        return from_status(self._address, code, details or "")


class _Inbox:
    """The answers for one sample that nobody has taken yet. One taker at a time."""

    def __init__(self) -> None:
        self.answers: deque[Answer | NeucodexError] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, answer: Answer | NeucodexError) -> None:
        self.answers.append(answer)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self, within_s: float) -> Answer:
        if not self.answers:
            self._waiter = asyncio.get_running_loop().create_future()
            # Not wait_for: before Python 3.12 it makes a task for each answer.
            await asyncio.wait({self._waiter}, timeout=max(0.0, within_s))
        if not self.answers:
            raise TimeoutError
        answer = self.answers.popleft()
        if isinstance(answer, NeucodexError):
            raise answer
        return answer
