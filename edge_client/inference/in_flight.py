"""One sample between its input and its verdict: it sends frames, receives answers, and starts again after a loss.

Each frame is kept until the verdict (tens of bytes each), so a sample whose stream or state is lost is sent again
without running the head.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from edge_client.heads.base import Head
from edge_client.inference.frame_producer import FrameProducer, HeadExecutor
from edge_client.inference.link_loss import LinkLossPolicy
from edge_client.inference.lookahead import Lookahead
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import AnsweredBy, Step, Verdict
from edge_client.link.base import Link, SampleStream, Transport
from shared.errors import CloudRefused, CloudUnavailable, SampleRejected, WireError
from shared.exit_policy import ExitPolicy
from shared.messages import Frame, Rejection, RejectionCode, StepResult, Stop
from shared.plain_text import plain
from shared.spike_codec import SpikeCodec
from shared.wire import FRAMING_BYTES, PACKET_BYTES, message_bytes

RESTARTED = (RejectionCode.STATE_LOST, RejectionCode.IDLE)
"""Rejections after which a sample starts again from its first frame, once on each stream."""

LEAST_RETRY_S = 0.005
"""The shortest wait for a slot, in case the cloud asks for none."""


@dataclass(frozen=True)
class SampleContext:
    """Values that all samples of a run share; `CoInference` and `LinkLossPolicy` document each field."""

    head: Head
    codec: SpikeCodec
    executor: HeadExecutor
    link: Link
    policy: ExitPolicy
    timesteps: int
    lookahead: Lookahead
    full_t: bool
    sample_deadline_s: float
    link_loss: LinkLossPolicy
    answer_patience_s: float
    on_rejection: Callable[[RejectionCode], None]
    top_k: int = 1
    clock: Callable[[], float] = time.perf_counter
    wall_clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass
class SentFrame:
    """A frame that was sent: when, how large it is on the wire, and how many frames were encoded by then.

    `alone`: no other frame of the sample was unanswered when it was sent, and none followed before its answer.
    """

    at: float
    wire_bytes: int
    encoded: int
    alone: bool


class SampleInFlight:
    """One sample between input and verdict; `close` it.

    A start sends all frames from the first one on. `_sent` and `_answered` belong to the present start. The results of
    all starts are in `_steps`.

    Args:
        context: of the run.
        sample: to be classified.
    """

    def __init__(self, context: SampleContext, sample: Sample) -> None:
        self._context = context
        self._sample = sample
        self.producer = FrameProducer(
            context.head, sample.pixels, context.codec, context.executor, self._on_encoded, context.clock
        )
        self._plan = context.lookahead.next_plan()
        self._began = context.clock()
        self._deadline = self._began + context.sample_deadline_s
        self._transport: Transport | None = None
        self._stream: SampleStream | None = None
        """The sample's handle on `_transport`; None between two starts."""
        self._restarted = False
        """Whether the sample has started again on this transport because its state was lost."""
        self._silent_since = self._began
        """When the wait for the cloud began: at the last answer, when the stream opened, or when the awaited frame was
        ready.
        """
        self._sent: list[SentFrame] = []
        self._answered = 0
        self._steps: list[Step] = []
        self._last: StepResult | None = None
        """The answer of the last of `_steps`."""
        self._payload_bytes = 0
        self._message_bytes = 0
        self._messages = 0
        self._answers = 0
        self._on_air_since: float | None = None

    async def ask_cloud(self) -> Verdict:
        """The cloud's verdict.

        Raises:
            SampleRejected: the cloud gave the sample up, or there was no verdict within the sample's deadline.
            WireError: the cloud answered something that was not asked.
            CloudUnavailable, CloudRefused: there is no cloud.
        """
        while not self._decided():
            try:
                stream = self._stream or await self._start()
                await self._send_due_frame(stream)
                answer = await self._receive(stream)
            except (CloudUnavailable, CloudRefused):
                if self._transport is None:
                    raise  # the link has no other cloud
                # Another cloud may serve where this one refuses; the link says when all of them refuse.
                self.stop()
                self._transport = None
                continue
            if isinstance(answer, Rejection):
                await self._give_way(answer)
            else:
                self._accept(answer)
        now = self._context.clock()
        # Also after timestep T: the slot is free as soon as the cloud reads this.
        self.stop()
        assert self._last is not None  # the first certain one, or that of T
        self._context.lookahead.observe_exit(self._last.timestep)
        return self.verdict(self._last, "cloud", now)

    def stop(self) -> None:
        """Tell the cloud that the sample has ended, if it is on a stream."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        self._count(Stop(stream.number), 1)
        for message in stream.stop():
            self._count(message, -1)

    def close(self) -> None:
        """End the sample here and in the cloud."""
        self.producer.close()
        self.stop()

    def verdict(self, answer: StepResult, by: AnsweredBy, now: float) -> Verdict:
        """The verdict by an answer, with the sample's bytes and durations until `now`.

        Args:
            answer: at which the sample stopped.
            by: who answered: the cloud or the edge.
            now: the time of the verdict, on the run's clock.
        """
        top_k = answer.best(self._context.top_k)
        prediction, confidence = top_k[0]
        return Verdict(
            sample=self._sample.id,
            prediction=prediction,
            confidence=confidence,
            timesteps=answer.timestep,
            payload_bytes=self._payload_bytes,
            latency_s=now - self._began,
            answered_by=by,
            steps=tuple(self._steps),
            message_bytes=self._message_bytes,
            wire_bytes=self._message_bytes + FRAMING_BYTES * self._messages,
            frames_sent=self._messages,
            answers=self._answers,
            head_steps=len(self.producer.encoded),
            on_air_s=0.0 if self._on_air_since is None else now - self._on_air_since,
            top_k=top_k,
            answered_at=self._context.wall_clock(),
        )

    def _decided(self) -> bool:
        if len(self._steps) == self._context.timesteps:
            return True
        return not self._context.full_t and bool(self._steps) and self._steps[-1].certain

    async def _start(self) -> SampleStream:
        """A handle for the next start, on the present transport or on the next one."""
        if self._transport is None:
            self._transport = self._context.link.current or await self._find_transport()
            self._restarted = False
            self._silent_since = self._context.clock()
        self._sent = []
        self._answered = 0
        self._stream = self._transport.open_sample()
        return self._stream

    async def _find_transport(self) -> Transport:
        link = self._context.link
        until = self._context.link_loss.stream_by(self._deadline, link.down_since)
        try:
            return await link.transport(until - self._context.clock())
        except TimeoutError:
            if until < self._deadline:
                raise link.unavailable_error() from None
            raise self._too_late(str(link.unavailable_error())) from None

    async def _send_due_frame(self, stream: SampleStream) -> None:
        """Send what may be sent. Waits for the head only while no answer is due: `_on_encoded` sends later frames."""
        if len(self._sent) == self._answered and not (self._sent and stream.has_answer):
            if len(self._sent) == len(self.producer.encoded):
                await self.producer.get(len(self._sent))
                self._silent_since = self._context.clock()
            self._send_next(stream)
        self._send_ahead(stream)

    def _on_encoded(self) -> None:
        """The head's thread has encoded a frame: send it, if an answer is due; else the loop waits for the frame."""
        if self._stream is not None and len(self._sent) > self._answered:
            with contextlib.suppress(CloudUnavailable, CloudRefused):  # `receive` raises it in the loop
                self._send_ahead(self._stream)

    def _send_ahead(self, stream: SampleStream) -> None:
        """Send the encoded frames that the plan allows, but none if an answer has arrived: it may end the sample.

        Then have the head prefetch. Frames are sent first: on a single core the head would delay them.
        """
        timesteps, known, encoded = self._context.timesteps, len(self._steps), len(self.producer.encoded)
        available = min(self._plan.sendable(known, timesteps), encoded)
        while len(self._sent) < available and not stream.has_answer:
            self._send_next(stream)
        following = encoded + 1
        if following <= self._plan.encodable(known, timesteps) and not stream.has_answer:
            stream.when_flushed(partial(self.producer.prefetch, following))

    def _send_next(self, stream: SampleStream) -> None:
        frame = self.producer.encoded[len(self._sent)]
        message = Frame(stream.number, len(self._sent) + 1, frame.codec, frame.spikes)
        now = self._context.clock()
        stream.send(message)
        under_way = self._sent[self._answered :]
        for other in under_way:
            other.alone = False
        size = self._count(message, 1)
        self._sent.append(
            SentFrame(now, size + FRAMING_BYTES + PACKET_BYTES, len(self.producer.encoded), alone=not under_way)
        )
        if self._on_air_since is None:
            self._on_air_since = now

    async def _receive(self, stream: SampleStream) -> StepResult | Rejection:
        try:
            answer = await stream.receive(self._answer_by() - self._context.clock())
        except TimeoutError:
            raise self._too_late(f"timestep {self._answered + 1} was not answered") from None
        self._answers += 1
        return answer

    def _accept(self, result: StepResult) -> None:
        now = self._context.clock()
        self._answered += 1
        if result.timestep != self._answered or self._answered > len(self._sent):
            raise WireError(f"the cloud answered timestep {result.timestep}, timestep {self._answered} was due")
        self._silent_since = now
        if self._answered <= len(self._steps):
            return  # sent again: the result is known, and was not certain enough
        frame, sent = self.producer.encoded[self._answered - 1], self._sent[self._answered - 1]
        step = Step(
            timestep=result.timestep,
            prediction=result.prediction,
            confidence=max(result.confidences),
            certain=self._context.policy.should_stop(result.confidences),
            head_s=frame.head_s,
            encode_s=frame.encode_s,
            send_to_result_s=now - sent.at,
            queue_s=result.queue_us / 1e6,
            tail_s=result.compute_us / 1e6,
            batch_size=result.batch_size,
        )
        head_idle = self.producer.pending is None and len(self.producer.encoded) == sent.encoded
        self._context.lookahead.observe_step(step, sent.wire_bytes, sent.alone, head_idle)
        self._steps.append(step)
        self._last = result

    async def _give_way(self, rejection: Rejection) -> None:
        """End this start. Wait where the cloud had no slot; the loop then starts again.

        Raises:
            SampleRejected: the rejection is final, or there is no time left.
        """
        self.stop()
        self._context.on_rejection(rejection.code)
        if rejection.code is RejectionCode.NO_SLOT:
            wait_s = max(rejection.retry_after_ms / 1000, LEAST_RETRY_S)
            if self._context.clock() + wait_s >= self._answer_by():
                raise self._too_late("the cloud had no free slot: give it more, or fewer edges")
            await self._context.sleep(wait_s)
        elif rejection.code in RESTARTED and not self._restarted:
            self._restarted = True
        else:
            raise SampleRejected(
                f"{self._sample.name}: rejected by the cloud ({rejection.code.name}): {plain(rejection.reason)}"
            )

    def _answer_by(self) -> float:
        return min(self._deadline, self._silent_since + self._context.answer_patience_s)

    def _count(self, message: Frame | Stop, times: int) -> int:
        """Count the bytes of a message that is sent (1) or never leaves (-1). Returns its size."""
        if isinstance(message, Frame):
            self._payload_bytes += times * len(message.spikes)
            self._messages += times
        size = message_bytes(message)
        self._message_bytes += times * size
        return size

    def _too_late(self, why: str) -> SampleRejected:
        return SampleRejected(
            f"{self._sample.name}: no verdict within {self._context.sample_deadline_s:g} s: {why} "
            "(or raise --sample-deadline)"
        )
