"""The gRPC face: streams in, streams out, who is let in, and the way out when the process is told to stop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc

from cloud_server.config import CloudConfig
from cloud_server.engine.engine import Engine
from cloud_server.engine.loaded_bundle import Lane, LaneKey
from cloud_server.engine.work import Outcome
from cloud_server.rpc.admission import Admission
from cloud_server.rpc.handshake import Refused, choose_lane, read_open
from cloud_server.rpc.idle import IdleWatch
from cloud_server.rpc.outbox import End, Outbox
from cloud_server.rpc.session import Sample, Session
from protos import co_inference_pb2 as pb
from shared.errors import WireError
from shared.messages import EdgeMessage, Frame, Open, Ready, Stop
from shared.metrics import Metrics
from shared.wire import cloud_to_wire, parse

log = logging.getLogger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["CoInference"].full_name

Context = grpc.aio.ServicerContext[bytes, pb.CloudMessage]

_DRAINING = End(grpc.StatusCode.UNAVAILABLE, "draining: go to another replica")
_RETIRED = End(grpc.StatusCode.FAILED_PRECONDITION, "this bundle is no longer served here: give the edge its successor")


_GONE = (grpc.aio.InternalError, grpc.aio.UsageError)
"""What gRPC raises when a stream is read or written whose connection broke: nobody is left to be told."""


@dataclass(eq=False)
class _Stream:
    """A conversation, until its end is decided; then what is queued in the outbox is all that is left of it."""

    session: Session
    outbox: Outbox
    forget: Callable[[], None]
    reader: asyncio.Task[None] = field(init=False)
    half_closed: bool = False
    """The edge sends nothing more; what it sent is still answered."""
    farewell: End | None = None
    """How the stream ends once its open samples are done."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, end: End) -> None:
        """Decide the end, once: slots are free and nothing more is read, however long the last messages take."""
        self.outbox.end(end)
        self.reader.cancel()
        self.session.close()
        self.forget()
        self.ended.set()

    def send_away(self, farewell: End) -> None:
        """Take no new samples, and end when the open ones are done."""
        self.farewell = farewell
        self.session.draining = True
        self.end_if_done()

    def end_if_done(self) -> None:
        if self.farewell is not None and self.session.open_samples == 0:
            self.end(self.farewell)
        elif self.half_closed and not self.session.unanswered:
            self.end(End())


class CoInference:
    """All streams of the process. Everything here runs in the event loop's thread."""

    def __init__(self, config: CloudConfig, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._gate = config.security.gate()
        self._lanes: dict[LaneKey, Lane] = {}
        self._engine: Engine | None = None
        self._watch: IdleWatch[Sample] = IdleWatch(config.sample_idle_timeout)
        self._idle_timer: asyncio.TimerHandle | None = None
        self._streams: dict[int, _Stream] = {}
        """By their sessions' keys."""
        self._admission = Admission(config.max_streams, config.max_streams_per_peer)
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for `grpc.aio.Server.add_generic_rpc_handlers`.

        Messages are parsed in here and not by gRPC, so that bytes that are no message get a status that says so.
        """
        method: Any = grpc.stream_stream_rpc_method_handler(
            self.infer, request_deserializer=None, response_serializer=pb.CloudMessage.SerializeToString
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Infer": method})

    def serve(self, engine: Engine) -> None:
        """Let streams in, now that the engine runs."""
        self._engine = engine

    def offer(self, lane: Lane) -> None:
        """Let streams of a bundle in, now that it is warm."""
        self._lanes[lane.key] = lane

    async def retire(self, lane: Lane) -> None:
        """Let no more streams of a bundle in, and wait until those open have finished their open samples."""
        del self._lanes[lane.key]
        streams = [stream for stream in self._streams.values() if stream.session.lane is lane]
        for stream in streams:
            stream.send_away(_RETIRED)
        for stream in streams:
            await stream.ended.wait()

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """A batch is done: hand its outcomes to their streams."""
        touched = set()
        for outcome in outcomes:
            sample: Sample = outcome.work.token
            sample.session.settle(sample, outcome)
            touched.add(sample.session.key)
        self._end_what_is_done(touched)

    async def drain(self, timeout: float) -> bool:
        """Refuse new streams and samples, let the open ones finish for `timeout` seconds, then end what is left.

        Returns:
            Whether all finished by themselves.
        """
        self._draining = True
        for stream in list(self._streams.values()):
            stream.send_away(_DRAINING)
        try:
            await asyncio.wait_for(self._empty.wait(), timeout)
        except (TimeoutError, asyncio.TimeoutError):
            for stream in list(self._streams.values()):
                stream.end(_DRAINING)
            return False
        return True

    def close(self) -> None:
        """Stop watching the time."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    async def infer(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """One stream, from its Open to its end."""
        peer = context.peer()
        refusal = self._admission.enter(peer)
        if refusal is not None:
            self._metrics.count("neucodex_cloud_refused_streams_total", reason=refusal.reason)
            await _abort(refusal.end, context)
            return
        self._metrics.set("neucodex_cloud_streams", self._admission.streams)
        try:
            self._authenticate(context)
            key, outbox = self._begin(*await self._admit(requests), requests)
            try:
                await _write(outbox, context)
            finally:
                if key in self._streams:
                    self._streams[key].end(End())
        except Refused as refused:
            self._metrics.count("neucodex_cloud_refused_streams_total", reason=refused.reason)
            await _abort(refused.end, context)
        except _GONE as error:
            log.debug("a stream broke: %s", error)
        finally:
            self._admission.leave(peer)
            self._metrics.set("neucodex_cloud_streams", self._admission.streams)

    def _authenticate(self, context: Context) -> None:
        if self._gate is not None and not self._gate.admits(context.invocation_metadata()):
            unknown = "no token that is known here: see --token-file on both sides"
            raise Refused("unauthenticated", grpc.StatusCode.UNAUTHENTICATED, unknown)

    async def _admit(self, requests: AsyncIterator[bytes]) -> tuple[Lane, Open]:
        """Read Open and choose the bundle, or raise `Refused`."""
        self._refuse_unless_serving()
        opened = await read_open(requests, self._config.sample_idle_timeout)
        self._refuse_unless_serving()  # waiting for Open may have taken long
        return choose_lane(opened, self._lanes), opened

    def _begin(self, lane: Lane, opened: Open, requests: AsyncIterator[bytes]) -> tuple[int, Outbox]:
        """Begin a conversation; gives its key and what is to be written.

        Who writes holds these alone: a bundle that is retired is not kept in memory by somebody who does not read.
        """
        assert self._engine is not None
        outbox = Outbox(self._config.max_outgoing)
        session = Session(
            lane,
            self._engine,
            top_k=opened.top_k,
            max_open=self._config.max_open_samples,
            watch=self._watch,
            metrics=self._metrics,
            send=outbox.put,
            clock=time.monotonic,
        )
        stream = _Stream(session, outbox, partial(self._forget, session.key))
        stream.reader = asyncio.create_task(self._read(stream, requests))
        self._streams[session.key] = stream
        self._empty.clear()
        outbox.put(Ready(self._config.max_open_samples, round(self._config.sample_idle_timeout * 1000)))
        return session.key, outbox

    def _forget(self, key: int) -> None:
        self._streams.pop(key, None)
        if not self._streams:
            self._empty.set()

    async def _read(self, stream: _Stream, requests: AsyncIterator[bytes]) -> None:
        """Take in what the edge sends; while its answers pile up, nothing more is read and gRPC holds it back."""
        try:
            async for raw in requests:
                for message in parse(raw):
                    self._receive(stream, message)
                self._watch_the_time()
                await stream.outbox.room()
            stream.half_closed = True
            stream.end_if_done()
        except WireError as error:
            stream.end(End(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        except (grpc.aio.AbortError, *_GONE) as error:
            # The connection broke, or the stream has its status already.
            log.debug("a stream cannot be read any more: %s", error)
            stream.end(End(grpc.StatusCode.INTERNAL, "the stream cannot be read any more"))
        except Exception:
            log.exception("a message of a stream could not be handled")
            stream.end(End(grpc.StatusCode.INTERNAL, "the cloud failed: open another stream"))

    def _receive(self, stream: _Stream, message: EdgeMessage) -> None:
        if isinstance(message, Frame):
            stream.session.frame(message)
        elif isinstance(message, Stop):
            stream.session.stop(message)
        else:
            raise WireError("Open came twice: a stream has one, for another bundle open another stream")
        stream.end_if_done()

    def _watch_the_time(self) -> None:
        """One timer for all samples; it may come early, for times only move on, and is then set anew."""
        expiry = self._watch.next_expiry()
        if self._idle_timer is None and expiry is not None:
            pause = max(0.0, expiry - time.monotonic())
            self._idle_timer = asyncio.get_running_loop().call_later(pause, self._end_idle_samples)

    def _end_idle_samples(self) -> None:
        self._idle_timer = None
        expired = self._watch.expired(time.monotonic())
        for sample in expired:
            sample.session.expire(sample)
        self._end_what_is_done({sample.session.key for sample in expired})
        self._watch_the_time()

    def _end_what_is_done(self, keys: Iterable[int]) -> None:
        for key in keys:
            stream = self._streams.get(key)
            if stream is not None:
                stream.end_if_done()

    def _refuse_unless_serving(self) -> None:
        if self._draining:
            raise Refused("draining", _DRAINING.code, _DRAINING.details)
        if self._engine is None:
            wait = "warming up: try again soon, or go to another replica"
            raise Refused("warming_up", grpc.StatusCode.UNAVAILABLE, wait)


async def _write(outbox: Outbox, context: Context) -> None:
    """Write what is queued, as it comes, and the end."""
    async for message in outbox.messages():
        await context.write(cloud_to_wire(message))
    if outbox.how is not None and outbox.how.code is not grpc.StatusCode.OK:
        await _abort(outbox.how, context)


async def _abort(end: End, context: Context) -> None:
    """End a stream with a status. Raises gRPC's AbortError, by which it knows; nothing if the edge is gone already."""
    try:
        await context.abort(end.code, end.details, end.metadata)
    except _GONE as error:
        log.debug("a stream ended before it was told why: %s", error)
