"""A transport over one gRPC call: a task that reads it, a task that writes it, and a handle for each sample.

The reader hands each answer to its sample's handle. The writer sends what the handles queue: frames in order, Stops
along with them. A handle lives until `stop`; answers that come later are dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from edge_client.link.addresses import Target
from edge_client.link.base import Reply
from edge_client.link.errors import silent
from edge_client.link.grpc_call import GrpcCall
from edge_client.link.patience import AnswerPatience
from edge_client.link.security import LinkSecurity
from shared.bundle import Bundle
from shared.errors import CloudUnavailable, NeucodexError
from shared.exit_policy import ExitPolicy
from shared.messages import EdgeMessage, Frame, Open, Ready, Rejection, Stop

log = logging.getLogger(__name__)

TICK_S = 0.1
"""How often the edge looks for an answer that is due."""

LONGEST_TICKS = 2
"""A tick that took longer counts for so many at most: on a busy machine each takes its time, and the silence is real,
but while this process itself stands still, the cloud is not silent."""

PROBE_S = 5.0
"""After this silence while an answer is due, the edge sends a message that the cloud ignores. Sent bytes must be
acknowledged, so a link that died after the frames had left is noticed within PROBE_S + DEAD_LINK_S. The message is no
gRPC ping, so no server objects to it."""

NO_SAMPLE = 0
"""No sample has this number; a Stop for it is the probe."""

STOP_WAITS_S = 0.1
"""How long a Stop that only frees a slot waits for a frame to travel with. It saves a packet for each sample where
samples follow each other."""

SAMPLE_NUMBERS = (1 << 32) - 1
"""Sample numbers are uint32 on the wire, from 1."""


class Call(Protocol):
    """What a transport runs on; `GrpcCall` documents it."""

    address: str

    async def open(self) -> Ready: ...

    async def write(self, message: EdgeMessage, stops: Sequence[Stop] = ()) -> None: ...

    async def read(self) -> Reply: ...

    async def close(self) -> None: ...


class GrpcTransport:
    """A `Transport` over one call.

    Args:
        call: not opened yet.
        probe_s: seconds of silence after which an edge that waits for an answer makes sure that the link lives.
        sleep: waits for the next look at what is due.
    """

    def __init__(
        self, call: Call, probe_s: float = PROBE_S, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._call = call
        self._probe_s = probe_s
        self._sleep = sleep
        self._tick_s = min(TICK_S, probe_s)
        self._samples: dict[int, GrpcSampleStream] = {}
        self._last_number = 0
        self._frames: deque[Frame] = deque()
        self._stops: list[Stop] = []
        self._stop_timer: asyncio.TimerHandle | None = None
        """Runs while every Stop may wait for a frame."""
        self._work = asyncio.Event()
        """Set while there may be something to write."""
        self._owed = asyncio.Event()
        """Set while there may be an answer due."""
        self._answers = 0
        """How many have come."""
        self.close_reason: NeucodexError | None = None
        """Why the stream is lost; None while it lives. Callers get copies, never the exception itself."""
        self._on_lost: Callable[[NeucodexError], None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        policy: ExitPolicy,
        target: Target,
        security: LinkSecurity,
        connect_deadline_s: float,
        top_k: int = 1,
    ) -> GrpcTransport:
        """A transport for this bundle. It asks the cloud for `top_k` confidences, or as many as `policy` needs.

        Args:
            bundle: the edge's bundle.
            policy: decides how many confidences an answer needs.
            target: the cloud's address.
            security: TLS and token.
            connect_deadline_s: seconds until the cloud must have accepted the stream.
            top_k: classes that a verdict names.
        """
        opening = Open(bundle.fingerprint, bundle.execution, policy.confidences_asked(top_k))
        return cls(GrpcCall(target, security, opening, bundle.manifest.network.classes, connect_deadline_s))

    async def open(
        self, on_lost: Callable[[NeucodexError], None] | None = None, patience: AnswerPatience | None = None
    ) -> Ready:
        ready = await self._call.open()
        self._on_lost = on_lost
        work = {"answers": self._read_all(), "frames": self._write_all(), "silence": self._watch(patience)}
        self._tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
        for task in self._tasks:
            task.add_done_callback(self._check)
        return ready

    def open_sample(self) -> GrpcSampleStream:
        self.check_open()
        self._last_number = self._last_number % SAMPLE_NUMBERS + 1
        sample = GrpcSampleStream(self._last_number, self)
        self._samples[sample.number] = sample
        return sample

    async def close(self) -> None:
        self._lose(CloudUnavailable(f"the stream to {self._call.address} was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._call.close()

    def check_open(self) -> None:
        """Raise why the stream is lost, if it is.

        Raises:
            CloudUnavailable, CloudRefused: it is lost.
        """
        if self.close_reason is not None:
            raise self.close_reason.fresh_copy()

    def queue(self, frame: Frame) -> None:
        """Write this frame after those that are queued."""
        self._frames.append(frame)
        self._work.set()
        self._owed.set()

    def withdraw(self, sample: GrpcSampleStream) -> list[Frame]:
        """Forget a sample that has ended. Returns its frames that were queued, and now never leave."""
        self._samples.pop(sample.number, None)
        queued = [frame for frame in self._frames if frame.sample == sample.number]
        for frame in queued:
            self._frames.remove(frame)
        return queued

    def queue_stop(self, stop: Stop, *, at_once: bool) -> None:
        """Write a Stop with the next frame, or by itself: at once, or when its time is up."""
        self._stops.append(stop)
        if at_once:
            self._end_stop_timer()
        elif len(self._stops) == 1:
            self._stop_timer = asyncio.get_running_loop().call_later(STOP_WAITS_S, self._end_stop_timer)

    def _end_stop_timer(self) -> None:
        if self._stop_timer is not None:
            self._stop_timer.cancel()
            self._stop_timer = None
        self._work.set()

    def _take_stops(self) -> list[Stop]:
        self._end_stop_timer()
        stops, self._stops = self._stops, []
        return stops

    async def _write_all(self) -> None:
        try:
            while True:
                if self._frames:
                    await self._write(self._frames.popleft())
                elif self._stops and self._stop_timer is None:
                    *others, last = self._take_stops()
                    await self._call.write(last, others)
                else:
                    self._work.clear()
                    await self._work.wait()
        except NeucodexError as error:
            self._lose(error)

    async def _write(self, frame: Frame) -> None:
        sample = self._samples[frame.sample]
        sample.known_to_cloud = True
        await self._call.write(frame, self._take_stops())
        sample.frame_left()

    async def _read_all(self) -> None:
        try:
            while True:
                answer = await self._call.read()
                self._answers += 1
                sample = self._samples.get(answer.sample)
                if sample is not None:
                    sample.put(answer)
        except NeucodexError as error:
            self._lose(error)

    async def _watch(self, patience: AnswerPatience | None) -> None:
        """Count how long answers are due and none comes. Between two samples nothing is due, and nothing counted."""
        silent_s = probed_s = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if not any(sample.unanswered > 0 for sample in self._samples.values()):
                self._owed.clear()
                await self._owed.wait()
            before, began = self._answers, loop.time()
            await self._sleep(self._tick_s)
            if self._answers != before:
                if patience is not None:
                    patience.answered(silent_s)
                silent_s = probed_s = 0.0
                continue
            silent_s += min(loop.time() - began, LONGEST_TICKS * self._tick_s)
            if patience is not None and silent_s >= patience.seconds:
                patience.left()
                self._lose(silent(self._call.address, silent_s))
                return
            # One probe at a time: one that could not be written yet is still in the queue.
            if silent_s - probed_s >= self._probe_s and Stop(NO_SAMPLE) not in self._stops:
                probed_s = silent_s
                self.queue_stop(Stop(NO_SAMPLE), at_once=True)

    def _check(self, task: asyncio.Task[None]) -> None:
        """A task that fails for an unforeseen reason ends the stream; the samples go to the next one."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s of the stream failed", task.get_name(), exc_info=error)
            self._lose(CloudUnavailable(f"the stream to {self._call.address} failed here: {error!r}"))

    def _lose(self, why: NeucodexError) -> None:
        """The first reason stands."""
        if self.close_reason is not None:
            return
        self.close_reason = why.fresh_copy()
        if self._on_lost is not None:
            self._on_lost(self.close_reason)
        for sample in self._samples.values():
            sample.wake()


class GrpcSampleStream:
    """A `SampleStream` on a `GrpcTransport`. The transport calls the methods below `stop`."""

    def __init__(self, number: int, transport: GrpcTransport) -> None:
        self.number = number
        self.known_to_cloud = False
        """Whether a frame was handed to gRPC."""
        self.unanswered = 0
        """Frames sent, queued ones included, that have no answer."""
        self._transport = transport
        self._answers: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._rejected = False
        self._leaving = 0
        """Frames sent that have not left this process."""
        self._do_when_flushed: Callable[[], None] | None = None

    @property
    def has_answer(self) -> bool:
        return bool(self._answers)

    def send(self, frame: Frame) -> None:
        self._transport.check_open()
        self.unanswered += 1
        self._leaving += 1
        self._transport.queue(frame)

    def when_flushed(self, do: Callable[[], None]) -> None:
        self._do_when_flushed = do
        self._tell_if_flushed()

    async def receive(self, within_s: float) -> Reply:
        if not self._answers and self._transport.close_reason is None:
            # Not asyncio.wait_for: it makes a task and callbacks for each answer.
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(max(0.0, within_s), self.wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
        if not self._answers:
            self._transport.check_open()
            raise TimeoutError
        return self._answers.popleft()

    def stop(self) -> Sequence[Frame | Stop]:
        self._do_when_flushed = None
        queued = self._transport.withdraw(self)
        self.unanswered -= len(queued)
        stop = Stop(self.number)
        if self._rejected or not self.known_to_cloud or self._transport.close_reason is not None:
            return [*queued, stop]
        self._transport.queue_stop(stop, at_once=self.unanswered > 0)
        return queued

    def put(self, answer: Reply) -> None:
        """One more answer has come."""
        self.unanswered -= 1
        self._rejected = self._rejected or isinstance(answer, Rejection)
        self._answers.append(answer)
        self.wake()

    def frame_left(self) -> None:
        """One more frame has left this process."""
        self._leaving -= 1
        self._tell_if_flushed()

    def wake(self) -> None:
        """End the waiting in `receive`: there is an answer, or the stream is lost."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _tell_if_flushed(self) -> None:
        if self._leaving == 0 and self._do_when_flushed is not None:
            do, self._do_when_flushed = self._do_when_flushed, None
            do()
