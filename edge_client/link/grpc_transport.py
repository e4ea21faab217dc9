"""A transport over gRPC: one stream, a task that reads it and one that writes it.

The reader puts what comes into the inbox of the sample it belongs to, the writer sends what is queued: frames in order,
Stops with them. A sample's inbox lives from its first frame to its Stop or its rejection; what arrives later is of no
use to anyone and is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

import grpc
import grpc.aio

from edge_client.link.addresses import Target
from edge_client.link.errors import from_status, not_in_time, not_reached, retry_after_s, spoke_wrongly
from edge_client.link.inbox import Answer, Inbox
from edge_client.link.security import LinkSecurity
from protos import co_inference_pb2 as pb
from protos import co_inference_pb2_grpc as pb_grpc
from shared.bundle import Bundle
from shared.errors import CloudUnavailable, NeucodexError, WireError
from shared.exit_policy import ExitPolicy
from shared.messages import EdgeMessage, Frame, Open, Ready, Rejection, Stop
from shared.wire import cloud_from_wire, edge_to_wire

log = logging.getLogger(__name__)

KEEPALIVE_S = 330
"""A server that follows gRPC's defaults hangs up (too_many_pings) on pings less than 300 s apart."""

DEAD_LINK_S = 10
"""What was sent and is not acknowledged for this long ends the connection (gRPC sets TCP_USER_TIMEOUT to it)."""

PROBE_S = 5.0
"""After so much silence while an answer is due, a message is sent that the cloud ignores: sent bytes must be
acknowledged, so a link that died after the frames had left is noticed within PROBE_S + DEAD_LINK_S. It is no ping, and
no server minds it."""

NO_SAMPLE = 0
"""No sample has this number; a Stop for it is the probe."""

STOP_WAITS_S = 0.1
"""So long a Stop that frees nothing but a slot waits for a frame to travel with: a packet fewer on the link for each
sample, where one follows the other."""

OPENINGS = 8
"""Streams that are opened, at most, to hear from a server why it refuses. On loopback one in six loses that."""

CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
    ("grpc.keepalive_timeout_ms", DEAD_LINK_S * 1000),
    ("grpc.keepalive_permit_without_calls", 0),
    # Frames of some bytes need no bandwidth estimate; its pings would be a quarter of what is sent.
    ("grpc.http2.bdp_probe", 0),
    # A connection for each transport: the pause before another try is the link's to choose, not gRPC's.
    ("grpc.use_local_subchannel_pool", 1),
)


class GrpcTransport:
    """A `Transport` over one grpc.aio stream.

    Args:
        target: the machine to connect to.
        security: how.
        opening: the stream's first message: which bundle this edge runs, how, and what it wants back.
        classes: of that bundle; answers that do not fit it are refused.
        connect_deadline_s: for the connection, Open and Ready together.
        probe_s: silence after which a waiting edge makes sure that the link lives.
    """

    def __init__(
        self,
        target: Target,
        security: LinkSecurity,
        opening: Open,
        classes: int,
        connect_deadline_s: float,
        probe_s: float = PROBE_S,
    ) -> None:
        self._target = target
        self._security = security
        self._opening = opening
        self._classes = classes
        self._connect_deadline_s = connect_deadline_s
        self._probe_s = probe_s
        self._inboxes: dict[int, Inbox] = {}
        self._frames: deque[Frame] = deque()
        self._stops: list[Stop] = []
        self._stops_wait: asyncio.TimerHandle | None = None
        """None: no longer."""
        self._more = asyncio.Event()
        self._heard = 0.0
        self._end: NeucodexError | None = None
        self._ended = asyncio.Event()
        self._channel: grpc.aio.Channel | None = None
        self._call: grpc.aio.StreamStreamCall[pb.EdgeMessage, pb.CloudMessage] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def of(
        cls, bundle: Bundle, policy: ExitPolicy, target: Target, security: LinkSecurity, connect_deadline_s: float
    ) -> GrpcTransport:
        """One that runs this bundle, and asks for no more confidences than the policy that decides needs."""
        opening = Open(bundle.fingerprint, bundle.execution, policy.confidences_needed)
        return cls(target, security, opening, bundle.manifest.network.classes, connect_deadline_s)

    async def open(self) -> Ready:
        # The name, not the number: for proxies that choose by it.
        options = (*CHANNEL_OPTIONS, ("grpc.default_authority", self._target.named))
        self._channel = self._security.channel(self._target, options)
        stub: pb_grpc.CoInferenceAsyncStub = pb_grpc.CoInferenceStub(self._channel)  # type: ignore[assignment]
        try:
            ready = await asyncio.wait_for(self._handshake(stub), self._connect_deadline_s)
        except (asyncio.TimeoutError, TimeoutError):  # one and the same from Python 3.11 on
            await self.close()
            raise not_in_time(self._target.address, self._connect_deadline_s) from None
        except NeucodexError:
            await self.close()
            raise
        work = {"answers": self._read_all(), "frames": self._write_all(), "probes": self._probe()}
        self._tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
        for task in self._tasks:
            task.add_done_callback(self._check)
        return ready

    def send(self, frame: Frame) -> None:
        if self._end is not None:
            raise self._end.anew()
        self._inboxes.setdefault(frame.sample, Inbox()).leaving += 1
        self._frames.append(frame)
        self._more.set()

    def stop(self, sample: int, under_way: bool) -> Sequence[Frame | Stop]:
        inbox = self._inboxes.pop(sample, None)
        unsent = [frame for frame in self._frames if frame.sample == sample]
        for frame in unsent:
            self._frames.remove(frame)
        if self._end is not None or (inbox is not None and not inbox.written):
            return [*unsent, Stop(sample)]
        self._tell(Stop(sample), at_once=under_way)
        return unsent

    def when_written(self, sample: int, do: Callable[[], None]) -> None:
        self._inboxes[sample].when_written(do)

    async def receive(self, sample: int, within_s: float) -> Answer | None:
        answer = await self._inboxes[sample].take(within_s)
        if isinstance(answer, Rejection):
            self._inboxes.pop(sample, None)
        return answer

    def arrived(self, sample: int) -> bool:
        return sample in self._inboxes and bool(self._inboxes[sample].answers)

    def nudge(self, sample: int) -> None:
        if sample in self._inboxes:
            self._inboxes[sample].nudge()

    @property
    def ended(self) -> NeucodexError | None:
        return self._end

    async def lost(self) -> NeucodexError:
        await self._ended.wait()
        assert self._end is not None
        return self._end

    async def close(self) -> None:
        self._lose(CloudUnavailable(f"the stream to {self._target.address} was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._call is not None:
            self._call.cancel()
        if self._channel is not None:
            await self._channel.close(grace=None)

    def _tell(self, stop: Stop, at_once: bool) -> None:
        """Send it with the next frame, or by itself: at once, or when the time is up."""
        self._stops.append(stop)
        if at_once:
            self._stop_waiting()
        elif len(self._stops) == 1:
            self._stops_wait = asyncio.get_running_loop().call_later(STOP_WAITS_S, self._stop_waiting)

    def _stop_waiting(self) -> None:
        if self._stops_wait is not None:
            self._stops_wait.cancel()
            self._stops_wait = None
        self._more.set()

    def _take_stops(self) -> list[Stop]:
        self._stop_waiting()
        stops, self._stops = self._stops, []
        return stops

    async def _handshake(self, stub: pb_grpc.CoInferenceAsyncStub) -> Ready:
        await self._begin(stub)
        ready = await self._read()
        if not isinstance(ready, Ready):
            raise spoke_wrongly(self._target.address, f"its first message is a {type(ready).__name__}, not Ready")
        return ready

    async def _begin(self, stub: pb_grpc.CoInferenceAsyncStub) -> None:
        """Open a stream and write Open, again where grpc.aio lost the status of a server that refused meanwhile.

        A write that fails because the server has ended the stream sets INTERNAL if the server's own status has not been
        taken in yet (grpc/grpc#36066); an edge with a wrong token would then try for ever, and never hear why.
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

    async def _write(self, message: EdgeMessage, stops: Sequence[Stop] = ()) -> None:
        assert self._call is not None
        try:
            await self._call.write(edge_to_wire(message, stops))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise await self._why_it_ended() from None

    async def _read(self) -> Ready | Answer:
        assert self._call is not None
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError:
            raise await self._why_it_ended() from None
        if message is grpc.aio.EOF:
            raise await self._why_it_ended()
        if not isinstance(message, pb.CloudMessage):  # gRPC's None for bytes that are none; the stream has not ended
            raise spoke_wrongly(self._target.address, "bytes that are no CloudMessage")
        try:
            return cloud_from_wire(message, self._classes, self._opening.top_k)
        except WireError as error:
            raise spoke_wrongly(self._target.address, str(error)) from None

    async def _write_all(self) -> None:
        try:
            while True:
                if self._frames:
                    frame = self._frames.popleft()
                    inbox = self._inboxes.get(frame.sample)  # a sample that was rejected has none
                    if inbox is not None:
                        inbox.written = True
                    await self._write(frame, self._take_stops())
                    if inbox is not None:
                        inbox.left()
                elif self._stops and self._stops_wait is None:
                    *others, last = self._take_stops()
                    await self._write(last, others)
                else:
                    self._more.clear()
                    await self._more.wait()
        except NeucodexError as error:
            self._lose(error)

    async def _read_all(self) -> None:
        try:
            while True:
                message = await self._read()
                self._heard = time.monotonic()
                if isinstance(message, Ready):
                    raise spoke_wrongly(self._target.address, "it sent Ready twice")
                inbox = self._inboxes.get(message.sample)
                if inbox is not None:
                    inbox.put(message)
        except NeucodexError as error:
            self._lose(error)

    async def _probe(self) -> None:
        while True:
            asked = time.monotonic()
            await asyncio.sleep(self._probe_s)
            # One probe at a time: one that could not even be written waits in the queue.
            if self._inboxes and self._heard < asked and Stop(NO_SAMPLE) not in self._stops:
                self._tell(Stop(NO_SAMPLE), at_once=True)

    def _check(self, task: asyncio.Task[None]) -> None:
        """A task that failed for a reason that nobody thought of takes the stream with it, and not the samples."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s of the stream failed", task.get_name(), exc_info=error)
            self._lose(CloudUnavailable(f"the stream to {self._target.address} failed here: {error!r}"))

    def _lose(self, why: NeucodexError) -> None:
        """The first reason stands."""
        if self._end is not None:
            return
        self._end = why.anew()
        self._ended.set()
        for inbox in self._inboxes.values():
            inbox.end(self._end)

    async def _why_it_ended(self) -> NeucodexError:
        assert self._call is not None
        code = await self._call.code()
        details = await self._call.details()
        if not self._tasks and code is grpc.StatusCode.UNAVAILABLE:
            why: NeucodexError = not_reached(self._target.address, details or "")
        else:
            why = from_status(self._target.address, code, details or "")
        if isinstance(why, CloudUnavailable):
            why.retry_after_s = retry_after_s(await self._call.trailing_metadata() or ())
        return why
