"""The way of one sample: head, codec, link, exit policy, timestep after timestep, to its verdict.

Knows no gRPC and no torch: head and link are interfaces, the clock is handed in. What is made of a sample is kept until
its verdict (tens of bytes a frame), so a sample whose stream or state is lost is sent again without running the head.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from edge_client.heads.base import Head
from edge_client.heads.local_exit import LocalExit
from edge_client.inference.frame_producer import HeadThread, SampleFrames
from edge_client.inference.in_flight import OpenSample
from edge_client.inference.link_loss import LossPolicy
from edge_client.inference.lookahead import FixedLookahead, Lookahead
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Step, Verdict, exit_step
from edge_client.link.cloud_link import Link
from shared.errors import CloudRefused, CloudUnavailable, SampleRejected, WireError
from shared.exit_policy import ExitPolicy
from shared.messages import Frame, Rejection, RejectionCode, StepResult
from shared.spike_codec import SpikeCodec
from shared.wire import FRAMING_BYTES, PACKET_BYTES, message_bytes

STARTED_ANEW = (RejectionCode.STATE_LOST, RejectionCode.IDLE)
"""Rejections after which a sample is started from its first frame, once on each stream."""

LEAST_RETRY_S = 0.005
"""Waited for a slot at least, should a cloud ask for no delay."""

SAMPLE_NUMBERS = (1 << 32) - 1
"""They are uint32 on the wire, from 1."""

WAIT = LossPolicy("wait")

AnsweredHere = Literal["sure", "fallback"]


class CoInference:
    """Classifies samples with a head here and a tail over there.

    Args:
        head: starts samples and steps them.
        codec: of the bundle's frames.
        link: where streams come from.
        policy: when to stop.
        timesteps: T of the bundle.
        lookahead: how far ahead of the answers frames are made and sent. The verdict is the same for all: that of the
            first certain timestep.
        full_t: go on to timestep T even when certain; the verdict is then that of T.
        sample_deadline_s: from a sample's input to its verdict, in seconds.
        loss: what becomes of a sample without a cloud.
        local_exit: answers here; needed where `loss` falls back.
        local_first: ask the local exit before anything is sent, and stop there if it is sure.
        in_flight: samples that may be under way at once.
        on_rejection: told of each rejection, before it is dealt with.
        on_answered_here: told of each verdict of the local exit, and why it is one.
        clock: seconds, for durations and deadlines.
        sleep: waits for a slot.
    """

    def __init__(
        self,
        head: Head,
        codec: SpikeCodec,
        link: Link,
        policy: ExitPolicy,
        timesteps: int,
        *,
        lookahead: Lookahead | None = None,
        full_t: bool = False,
        sample_deadline_s: float = 30.0,
        loss: LossPolicy = WAIT,
        local_exit: LocalExit | None = None,
        local_first: bool = False,
        in_flight: int = 1,
        on_rejection: Callable[[RejectionCode], None] = lambda _: None,
        on_answered_here: Callable[[AnsweredHere], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        assert local_exit is not None or not (local_first or loss.on_loss == "fallback")
        self._head = head
        self._codec = codec
        self._link = link
        self._policy = policy
        self._timesteps = timesteps
        self._lookahead = lookahead or FixedLookahead(1)
        self._full_t = full_t
        self._sample_deadline_s = sample_deadline_s
        self._loss = loss
        self._local_exit = local_exit
        self._local_first = local_first
        self._on_rejection = on_rejection
        self._on_answered_here = on_answered_here
        self._clock = clock
        self._sleep = sleep
        self._next_number = 0
        self._thread = HeadThread(alone=in_flight == 1)

    async def classify(self, sample: Sample) -> Verdict:
        """One sample to its verdict. Several may be under way at once, as tasks.

        Raises:
            SampleRejected: the cloud gave the sample up, or there was no verdict within the sample's deadline.
            WireError: the cloud answered something that was not asked; other samples may fare better.
            CloudUnavailable, CloudRefused: there is no cloud, and no other sample will fare better.
        """
        began = self._clock()
        frames = SampleFrames(
            self._head, sample.frames, self._codec, self._thread, lambda: self._made(flight), self._clock
        )
        flight = OpenSample(sample, frames, self._lookahead.next_plan(), began, began + self._sample_deadline_s, began)
        try:
            if self._local_first:
                verdict = await self._answer_if_sure(flight)
                if verdict is not None:
                    return verdict
            return await self._ask_cloud(flight)
        except (SampleRejected, WireError, CloudUnavailable, CloudRefused):
            if self._loss.on_loss != "fallback":
                raise
            return await self._answer_here(flight)
        finally:
            frames.drop()
            flight.stop()

    def close(self) -> None:
        """End the head's thread."""
        self._thread.close()

    async def _ask_cloud(self, flight: OpenSample) -> Verdict:
        while not self._decided(flight):
            try:
                if flight.stream is None:
                    await self._find_stream(flight)
                await self._send_ahead(flight)
                answer = await self._receive(flight)
            except (CloudUnavailable, CloudRefused):
                if flight.stream is None:
                    raise  # it was looked for in vain
                # Another cloud may serve where this one refuses; the link says when all of them do.
                flight.stream = None
                continue
            if isinstance(answer, Rejection):
                await self._start_anew(flight, answer)
            elif answer is not None:
                self._accept(flight, answer, self._clock())
        now = self._clock()
        # Also after timestep T: the slot is free as soon as the cloud reads this.
        flight.stop()
        last = flight.steps[-1] if self._full_t else exit_step(flight.steps)
        self._lookahead.saw_exit(last.timestep)
        return flight.verdict(last.prediction, last.confidence, last.timestep, "cloud", now)

    def _decided(self, flight: OpenSample) -> bool:
        if flight.seen == self._timesteps:
            return True
        return not self._full_t and flight.seen > 0 and flight.steps[-1].certain

    async def _find_stream(self, flight: OpenSample) -> None:
        until = self._loss.stream_by(flight.deadline, self._link.down_since)
        try:
            stream = await self._link.stream(until - self._clock())
        except TimeoutError:
            if until < flight.deadline:
                raise self._link.trouble() from None
            raise self._too_late(flight, str(self._link.trouble())) from None
        flight.start(self._number(), stream)
        flight.lost_before = False
        flight.progress = self._clock()

    async def _send_ahead(self, flight: OpenSample) -> None:
        """Send all frames that are made and may be under way, but none once an answer is here: it may make them vain.

        Waits for the head only while nothing is under way; else `_made` calls back when there is more to send.
        """
        assert flight.stream is not None
        plan, frames = flight.plan, flight.frames
        sendable = plan.sendable(flight.seen, self._timesteps)
        while flight.sent < sendable:
            if flight.sent > 0 and flight.stream.arrived(flight.number):
                return
            if flight.sent == len(frames.made):
                if flight.sent > flight.answered:
                    break
                await frames.get(flight.sent)
                flight.progress = self._clock()  # until now the cloud had nothing to answer
            flight.send_next(self._clock())
        following = len(frames.made) + 1
        if following <= plan.makeable(flight.seen, self._timesteps):
            # What is sent leaves first: where one core does all, the head would keep it waiting.
            flight.stream.when_written(flight.number, lambda: frames.want(following))

    def _made(self, flight: OpenSample) -> None:
        """A frame was made in the head's thread: whoever waits for an answer sends it first, if it may be sent, and has
        the next one made."""
        if flight.stream is not None and flight.sent > flight.answered:
            flight.stream.nudge(flight.number)

    async def _receive(self, flight: OpenSample) -> StepResult | Rejection | None:
        assert flight.stream is not None
        until = self._loss.answer_by(flight.deadline, flight.progress)
        try:
            return await flight.stream.receive(flight.number, until - self._clock())
        except TimeoutError:
            raise self._too_late(flight, f"timestep {flight.answered + 1} was not answered") from None

    def _accept(self, flight: OpenSample, result: StepResult, now: float) -> None:
        flight.answered += 1
        if result.timestep != flight.answered or flight.answered > flight.sent:
            raise WireError(f"the cloud answered timestep {result.timestep}, timestep {flight.answered} was due")
        flight.progress = now
        if flight.answered <= flight.seen:
            return  # sent again: its result is known, and was not certain enough
        frame, sent = flight.frames.made[flight.seen], flight.sent_frames[flight.seen]
        step = Step(
            timestep=result.timestep,
            prediction=result.prediction,
            confidence=max(result.confidences),
            certain=self._policy.should_stop(result.confidences),
            head_s=frame.head_s,
            encode_s=frame.encode_s,
            send_to_result_s=now - sent.at,
            queue_s=result.queue_us / 1e6,
            tail_s=result.compute_us / 1e6,
            batch_size=result.batch_size,
        )
        message = Frame(flight.number, step.timestep, frame.codec, frame.spikes)
        bytes_of_it = message_bytes(message) + FRAMING_BYTES + PACKET_BYTES
        head_idle = not flight.frames.making and len(flight.frames.made) == sent.made
        self._lookahead.saw_step(step, bytes_of_it, sent.alone, head_idle)
        flight.steps.append(step)

    async def _start_anew(self, flight: OpenSample, rejection: Rejection) -> None:
        assert flight.stream is not None
        self._on_rejection(rejection.code)
        if rejection.code is RejectionCode.NO_SLOT:
            wait_s = max(rejection.retry_after_ms / 1000, LEAST_RETRY_S)
            if self._clock() + wait_s >= self._loss.answer_by(flight.deadline, flight.progress):
                raise self._too_late(flight, "the cloud had no free slot: give it more, or fewer edges")
            await self._sleep(wait_s)
        elif rejection.code in STARTED_ANEW and not flight.lost_before:
            flight.lost_before = True
        else:
            raise SampleRejected(
                f"{flight.sample.name}: rejected by the cloud ({rejection.code.name}): {rejection.reason}"
            )
        flight.start(self._number(), flight.stream)

    async def _answer_if_sure(self, flight: OpenSample) -> Verdict | None:
        """The local exit's verdict on the first timestep, if it is sure of it."""
        assert self._local_exit is not None
        await flight.frames.get(0)
        confidences = self._local_exit.confidences(flight.frames.mean_spikes())
        if not self._local_exit.policy.should_stop(confidences):
            return None
        return self._here(flight, confidences, "sure")

    async def _answer_here(self, flight: OpenSample) -> Verdict:
        """The local exit's verdict: at the first timestep from the present one on that it is sure of, or at T."""
        assert self._local_exit is not None
        await flight.frames.hold()
        if not flight.frames.made:
            await flight.frames.get(0)
        while True:
            confidences = self._local_exit.confidences(flight.frames.mean_spikes())
            timestep = len(flight.frames.made)
            if timestep == self._timesteps or self._local_exit.policy.should_stop(confidences):
                return self._here(flight, confidences, "fallback")
            await flight.frames.get(timestep)

    def _here(self, flight: OpenSample, confidences: tuple[float, ...], why: AnsweredHere) -> Verdict:
        flight.stop()
        self._on_answered_here(why)
        confidence = max(confidences)
        timestep = len(flight.frames.made)
        return flight.verdict(confidences.index(confidence), confidence, timestep, "edge", self._clock())

    def _too_late(self, flight: OpenSample, why: str) -> SampleRejected:
        return SampleRejected(
            f"{flight.sample.name}: no verdict within {self._sample_deadline_s:g} s: {why} (or raise --sample-deadline)"
        )

    def _number(self) -> int:
        self._next_number = self._next_number % SAMPLE_NUMBERS + 1
        return self._next_number
