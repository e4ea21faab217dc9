"""The gRPC servicer: reads and writes streams, refuses those that may not enter, and drains them at the end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import grpc

from cloud_server.config import CloudConfig
from cloud_server.engine.engine import Engine
from cloud_server.engine.loaded_bundle import BundleKey, LoadedBundle
from cloud_server.engine.requests import Outcome
from cloud_server.rpc.admission import Admission
from cloud_server.rpc.audit import Audit
from cloud_server.rpc.authentication import Authentication
from cloud_server.rpc.connection_guard import ConnectionGuard
from cloud_server.rpc.handshake import choose_bundle, read_open
from cloud_server.rpc.identity import Identity, address_of
from cloud_server.rpc.send_queue import SendQueue
from cloud_server.rpc.session import OpenSample, StreamSession
from cloud_server.rpc.stream import Stream
from cloud_server.rpc.stream_status import (
    DRAINING,
    IDLE,
    RETIRED,
    UNKNOWN_TOKEN,
    WARMING_UP,
    StreamRefused,
    StreamStatus,
)
from protos import co_inference_pb2 as pb
from shared.errors import WireError
from shared.messages import EdgeMessage, Frame, Open, Ready, Stop
from shared.metrics import Metrics
from shared.wire import cloud_to_wire, parse

log = logging.getLogger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["CoInference"].full_name

Context = grpc.aio.ServicerContext[bytes, pb.CloudMessage]

_BROKEN_STREAM = (grpc.aio.InternalError, grpc.aio.UsageError)
"""What gRPC raises when it reads or writes a stream whose connection broke: the edge can no longer be answered."""


class CoInferenceServicer:
    """All streams of the process. Everything runs in the event loop's thread.

    Args:
        config: of the process.
        metrics: of the process.
    """

    def __init__(self, config: CloudConfig, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._bundles: dict[BundleKey, LoadedBundle] = {}
        self._engine: Engine | None = None
        self._stream_idle_timeout = config.stream_idle_timeout
        self._idle_period = min(config.sample_idle_timeout, config.stream_idle_timeout)
        """Seconds after which idle samples and streams are looked for again, if none is due before."""
        self._idle_timer: asyncio.TimerHandle | None = None
        self._streams: dict[int, Stream] = {}
        """By the keys of their sessions."""
        self._admission = Admission(config.max_streams, config.max_streams_per_peer)
        self._authentication = Authentication(config.security.gate())
        self._audit = Audit(metrics)
        self.guard = ConnectionGuard(self._audit.connection_ended)
        """Watches connections of which no stream was accepted. To be started with the port."""
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for `grpc.aio.Server.add_generic_rpc_handlers`.

        gRPC passes bytes in, not parsed messages, so that malformed bytes end their stream with a status that says so.
        """
        method: Any = grpc.stream_stream_rpc_method_handler(
            self.infer, request_deserializer=None, response_serializer=pb.CloudMessage.SerializeToString
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Infer": method})

    def start_serving(self, engine: Engine) -> None:
        """Accept streams from now on."""
        self._engine = engine

    def offer(self, loaded: LoadedBundle) -> None:
        """Accept streams of a bundle. It must be warm."""
        self._bundles[loaded.key] = loaded

    async def retire(self, loaded: LoadedBundle) -> None:
        """Refuse new streams of a bundle, and wait until the open ones have finished their open samples."""
        del self._bundles[loaded.key]
        streams = [stream for stream in self._streams.values() if stream.session.loaded is loaded]
        for stream in streams:
            stream.drain(RETIRED)
        for stream in streams:
            await stream.ended.wait()

    def handle_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Pass the outcomes of a batch to their streams."""
        touched = set()
        for outcome in outcomes:
            sample: OpenSample = outcome.request.token
            sample.session.handle_outcome(sample, outcome)
            touched.add(sample.session.key)
        for key in touched:
            stream = self._streams.get(key)
            if stream is not None and stream.closing:
                stream.end_if_done()

    async def drain(self, timeout: float) -> bool:
        """Refuse new streams and samples, let the open ones finish, then end the rest.

        Args:
            timeout: seconds for the open samples.

        Returns:
            Whether all of them finished.
        """
        self._draining = True
        for stream in list(self._streams.values()):
            stream.drain(DRAINING)
        try:
            await asyncio.wait_for(self._empty.wait(), timeout)
        except (TimeoutError, asyncio.TimeoutError):
            for stream in list(self._streams.values()):
                stream.end(DRAINING)
            return False
        return True

    def end_revoked(self) -> None:
        """End the streams whose token is no longer in the file. To be called now and then."""
        if self._authentication.has_changed():
            for stream in list(self._streams.values()):
                if not self._authentication.is_known(stream.metadata):
                    self._end(stream, "revoked", UNKNOWN_TOKEN)

    def close(self) -> None:
        """Stop the idle timer and the guard."""
        self.guard.stop()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    async def infer(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Serve one stream, from its Open to its end."""
        peer, identity = context.peer(), None
        address = address_of(peer)
        try:
            identity = await self._authentication.identify(context)
            self._enter(peer, identity, address)
        except StreamRefused as refused:
            await self._refuse(refused, context, identity)
            return
        try:
            key, send_queue = self._begin(*await self._read_open(requests), requests, context, identity)
            try:
                await _write(send_queue, context)
            finally:
                if key in self._streams:
                    self._streams[key].end(StreamStatus())
        except StreamRefused as refused:
            await self._refuse(refused, context, identity)
        except _BROKEN_STREAM as error:
            log.debug("a stream broke: %s", error)
        finally:
            self._admission.leave(identity, address)
            self._metrics.set("neucodex_cloud_streams", self._admission.streams)

    async def _refuse(self, refused: StreamRefused, context: Context, identity: Identity | None) -> None:
        self._audit.refused(context.peer(), identity, refused.reason, refused.status.details)
        await _abort(refused.status, context)

    def _enter(self, peer: str, identity: Identity, address: str) -> None:
        """Count a stream. Raises `StreamRefused`."""
        try:
            self._admission.enter(identity, address)
        except StreamRefused as refused:
            if refused.reason == "share":
                self._audit.limited(peer, identity, "streams")
            raise
        self._metrics.set("neucodex_cloud_streams", self._admission.streams)

    async def _read_open(self, requests: AsyncIterator[bytes]) -> tuple[LoadedBundle, Open]:
        """Read Open and choose the bundle. Raises `StreamRefused`."""
        self._refuse_unless_serving()
        opened = await read_open(requests, self._config.sample_idle_timeout)
        self._refuse_unless_serving()  # it may have changed while Open was awaited
        return choose_bundle(opened, self._bundles), opened

    def _begin(
        self,
        loaded: LoadedBundle,
        opened: Open,
        requests: AsyncIterator[bytes],
        context: Context,
        identity: Identity,
    ) -> tuple[int, SendQueue]:
        """Create the session and start the reader. Raises `StreamRefused`.

        Returns the session's key, and the queue to write from.

        The writer refers to nothing else, so that an edge that does not read keeps no retired bundle in memory.
        """
        assert self._engine is not None
        metadata = tuple(context.invocation_metadata() or ())
        if not self._authentication.is_known(metadata):  # it may have been taken back while Open was awaited
            raise StreamRefused("unauthenticated", UNKNOWN_TOKEN)
        send_queue = SendQueue(self._config.max_outgoing)
        peer = context.peer()
        session = StreamSession(
            loaded,
            self._engine,
            owner=identity,
            top_k=opened.top_k,
            max_open=self._config.max_open_samples,
            idle_timeout=self._config.sample_idle_timeout,
            metrics=self._metrics,
            send=send_queue.put,
            on_limited=partial(self._audit.limited, peer, identity),
            clock=time.monotonic,
        )
        stream = Stream(peer, identity, metadata, session, send_queue, partial(self._forget, session.key))
        stream.reader = asyncio.create_task(self._read(stream, requests))
        self._streams[session.key] = stream
        self._empty.clear()
        self.guard.admit(peer)
        self._audit.connected(peer, identity, loaded.name, opened, _agent(context))
        if self._idle_timer is None:
            self._start_idle_timer(self._idle_period)
        send_queue.put(Ready(self._config.max_open_samples, round(self._config.sample_idle_timeout * 1000)))
        return session.key, send_queue

    def _forget(self, key: int) -> None:
        self._streams.pop(key, None)
        if not self._streams:
            self._empty.set()

    async def _read(self, stream: Stream, requests: AsyncIterator[bytes]) -> None:
        """Handle the edge's messages. While its send queue is full, nothing is read, and gRPC holds the edge back."""
        try:
            async for raw in requests:
                for message in parse(raw):
                    self._handle_message(stream, message)
                await stream.send_queue.room.wait()
            stream.half_close()
        except WireError as error:
            self._end(stream, "protocol", StreamStatus(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        except (grpc.aio.AbortError, *_BROKEN_STREAM) as error:
            # The connection broke, or the stream was aborted before.
            log.debug("a stream cannot be read any more: %s", error)
            stream.end(StreamStatus(grpc.StatusCode.INTERNAL, "the stream cannot be read any more"))
        except Exception:
            log.exception("a message of a stream could not be handled")
            self._end(stream, "failed", StreamStatus(grpc.StatusCode.INTERNAL, "the cloud failed: open another stream"))

    def _end(self, stream: Stream, reason: str, status: StreamStatus) -> None:
        """End a stream for a reason of the cloud's own."""
        self._audit.ended(stream.peer, stream.identity, reason, status.details)
        stream.end(status)

    def _handle_message(self, stream: Stream, message: EdgeMessage) -> None:
        if isinstance(message, Frame):
            stream.session.handle_frame(message)
        elif isinstance(message, Stop):
            stream.session.handle_stop(message)
        else:
            raise WireError("Open came twice: a stream has one, for another bundle open another stream")
        if stream.closing:
            stream.end_if_done()

    def _start_idle_timer(self, seconds: float) -> None:
        self._idle_timer = asyncio.get_running_loop().call_later(seconds, self._expire_idle)

    def _expire_idle(self) -> None:
        """Give up idle samples, end idle streams while streams are scarce, and start the timer again."""
        now = time.monotonic()
        due = [now + self._idle_period]
        for stream in list(self._streams.values()):
            next_due = stream.session.expire_idle()
            if stream.closing:
                stream.end_if_done()
            if next_due is not None:
                due.append(next_due)
        for stream in self._idle_streams(now)[: self._admission.excess]:
            self._end(stream, "idle", IDLE)
        self._idle_timer = None
        if self._streams:
            self._start_idle_timer(max(0.0, min(due) - now))

    def _idle_streams(self, now: float) -> list[Stream]:
        """The streams that had no sample for too long, the longest first."""
        since = {stream: stream.session.idle_since for stream in self._streams.values()}
        idle = {stream: at for stream, at in since.items() if at is not None and now - at >= self._stream_idle_timeout}
        return sorted(idle, key=idle.__getitem__)

    def _refuse_unless_serving(self) -> None:
        if self._draining:
            raise StreamRefused("draining", DRAINING)
        if self._engine is None:
            raise StreamRefused("warming_up", WARMING_UP)


def _agent(context: Context) -> str:
    """The library with which an edge connects, as it says itself."""
    return next((str(value) for key, value in context.invocation_metadata() or () if key == "user-agent"), "")


async def _write(send_queue: SendQueue, context: Context) -> None:
    """Write the messages as they are queued, and the stream's status."""
    async for message in send_queue.messages():
        await context.write(cloud_to_wire(message))
    if send_queue.status is not None and send_queue.status.code is not grpc.StatusCode.OK:
        await _abort(send_queue.status, context)


async def _abort(status: StreamStatus, context: Context) -> None:
    """End a stream with a status, if the edge is still there. Raises gRPC's AbortError, which tells gRPC to end it."""
    try:
        await context.abort(status.code, status.details, status.metadata)
    except _BROKEN_STREAM as error:
        log.debug("a stream broke before its status was sent: %s", error)
