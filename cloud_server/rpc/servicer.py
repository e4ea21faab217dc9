"""The gRPC servicer: reads and writes streams, refuses those that may not enter, and drains them at the end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc

from cloud_server.config import CloudConfig
from cloud_server.engine.engine import Engine
from cloud_server.engine.loaded_bundle import BundleKey, LoadedBundle
from cloud_server.engine.requests import Outcome
from cloud_server.rpc.admission import Admission
from cloud_server.rpc.handshake import choose_bundle, read_open
from cloud_server.rpc.send_queue import SendQueue
from cloud_server.rpc.session import OpenSample, StreamSession
from cloud_server.rpc.stream_status import (
    DRAINING,
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


@dataclass(eq=False)
class _Stream:
    """An open stream. After its end is decided only its send queue is left.

    Attributes:
        session: what its messages do.
        send_queue: its answers.
        forget: removes it from the servicer.
        reader: the task that reads its messages.
        half_closed: whether the edge has sent its last message. What it sent is still answered.
        end_when_done: the status with which it ends once its open samples are done; None for not yet.
        ended: set when its end is decided.
    """

    session: StreamSession
    send_queue: SendQueue
    forget: Callable[[], None]
    reader: asyncio.Task[None] = field(init=False)
    half_closed: bool = False
    end_when_done: StreamStatus | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, status: StreamStatus) -> None:
        """Decide the end. Slots are free at once and nothing more is read; the queued messages are still written."""
        self.send_queue.end(status)
        self.reader.cancel()
        self.session.close()
        self.forget()
        self.ended.set()

    def drain(self, status: StreamStatus) -> None:
        """Take no new samples, and end with `status` when the open ones are done."""
        self.end_when_done = status
        self.session.draining = True
        self.end_if_done()

    def end_if_done(self) -> None:
        if self.end_when_done is not None and self.session.open_samples == 0:
            self.end(self.end_when_done)
        elif self.half_closed and not self.session.has_unanswered_frames:
            self.end(StreamStatus())


class CoInferenceServicer:
    """All streams of the process. Everything runs in the event loop's thread.

    Args:
        config: of the process.
        metrics: of the process.
    """

    def __init__(self, config: CloudConfig, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._tokens = config.security.gate()
        self._bundles: dict[BundleKey, LoadedBundle] = {}
        self._engine: Engine | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._streams: dict[int, _Stream] = {}
        """By the keys of their sessions."""
        self._admission = Admission(config.max_streams, config.max_streams_per_peer)
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
            if (stream := self._streams.get(key)) is not None:
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

    def close(self) -> None:
        """Stop the idle timer."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    async def infer(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Serve one stream, from its Open to its end."""
        peer = context.peer()
        try:
            self._admission.enter(peer)
        except StreamRefused as refused:
            await self._refuse(refused, context)
            return
        self._metrics.set("neucodex_cloud_streams", self._admission.streams)
        try:
            self._authenticate(context)
            key, send_queue = self._begin(*await self._read_open(requests), requests)
            try:
                await _write(send_queue, context)
            finally:
                if key in self._streams:
                    self._streams[key].end(StreamStatus())
        except StreamRefused as refused:
            await self._refuse(refused, context)
        except _BROKEN_STREAM as error:
            log.debug("a stream broke: %s", error)
        finally:
            self._admission.leave(peer)
            self._metrics.set("neucodex_cloud_streams", self._admission.streams)

    async def _refuse(self, refused: StreamRefused, context: Context) -> None:
        self._metrics.count("neucodex_cloud_refused_streams_total", reason=refused.reason)
        await _abort(refused.status, context)

    def _authenticate(self, context: Context) -> None:
        if self._tokens is not None and not self._tokens.admits(context.invocation_metadata()):
            raise StreamRefused("unauthenticated", UNKNOWN_TOKEN)

    async def _read_open(self, requests: AsyncIterator[bytes]) -> tuple[LoadedBundle, Open]:
        """Read Open and choose the bundle. Raises `StreamRefused`."""
        self._refuse_unless_serving()
        opened = await read_open(requests, self._config.sample_idle_timeout)
        self._refuse_unless_serving()  # it may have changed while Open was awaited
        return choose_bundle(opened, self._bundles), opened

    def _begin(self, loaded: LoadedBundle, opened: Open, requests: AsyncIterator[bytes]) -> tuple[int, SendQueue]:
        """Create the session and start the reader. Returns the session's key, and the queue to write from.

        The writer refers to nothing else, so that an edge that does not read keeps no retired bundle in memory.
        """
        assert self._engine is not None
        send_queue = SendQueue(self._config.max_outgoing)
        session = StreamSession(
            loaded,
            self._engine,
            top_k=opened.top_k,
            max_open=self._config.max_open_samples,
            idle_timeout=self._config.sample_idle_timeout,
            metrics=self._metrics,
            send=send_queue.put,
            clock=time.monotonic,
        )
        stream = _Stream(session, send_queue, partial(self._forget, session.key))
        stream.reader = asyncio.create_task(self._read(stream, requests))
        self._streams[session.key] = stream
        self._empty.clear()
        send_queue.put(Ready(self._config.max_open_samples, round(self._config.sample_idle_timeout * 1000)))
        return session.key, send_queue

    def _forget(self, key: int) -> None:
        self._streams.pop(key, None)
        if not self._streams:
            self._empty.set()

    async def _read(self, stream: _Stream, requests: AsyncIterator[bytes]) -> None:
        """Handle the edge's messages. While its send queue is full, nothing is read, and gRPC holds the edge back."""
        try:
            async for raw in requests:
                for message in parse(raw):
                    self._handle_message(stream, message)
                if self._idle_timer is None:  # one timer for all samples; none is due before it
                    self._start_idle_timer(self._config.sample_idle_timeout)
                await stream.send_queue.room.wait()
            stream.half_closed = True
            stream.end_if_done()
        except WireError as error:
            stream.end(StreamStatus(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        except (grpc.aio.AbortError, *_BROKEN_STREAM) as error:
            # The connection broke, or the stream was aborted before.
            log.debug("a stream cannot be read any more: %s", error)
            stream.end(StreamStatus(grpc.StatusCode.INTERNAL, "the stream cannot be read any more"))
        except Exception:
            log.exception("a message of a stream could not be handled")
            stream.end(StreamStatus(grpc.StatusCode.INTERNAL, "the cloud failed: open another stream"))

    def _handle_message(self, stream: _Stream, message: EdgeMessage) -> None:
        if isinstance(message, Frame):
            stream.session.handle_frame(message)
        elif isinstance(message, Stop):
            stream.session.handle_stop(message)
        else:
            raise WireError("Open came twice: a stream has one, for another bundle open another stream")
        stream.end_if_done()

    def _start_idle_timer(self, seconds: float) -> None:
        self._idle_timer = asyncio.get_running_loop().call_later(seconds, self._expire_samples)

    def _expire_samples(self) -> None:
        """Give up idle samples, and start the timer again for the sample that is due next."""
        self._idle_timer = None
        due = []
        for stream in list(self._streams.values()):
            next_due = stream.session.expire_idle()
            stream.end_if_done()
            if next_due is not None:
                due.append(next_due)
        if due:
            self._start_idle_timer(max(0.0, min(due) - time.monotonic()))

    def _refuse_unless_serving(self) -> None:
        if self._draining:
            raise StreamRefused("draining", DRAINING)
        if self._engine is None:
            raise StreamRefused("warming_up", WARMING_UP)


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
