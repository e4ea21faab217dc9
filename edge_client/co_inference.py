"""The way of one sample: head, codec, link, exit policy, timestep after timestep, to its verdict.

Knows no gRPC and no torch: head and transport are interfaces, the clock is handed in. What is sent of a sample is kept
until its verdict (tens of bytes a frame), so a sample whose state the cloud has lost is replayed without running the
head again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from edge_client.head_runner import Head, HeadRun
from edge_client.sources import Sample
from edge_client.transport import Transport
from edge_client.verdict import Step, Verdict, exit_step
from shared.errors import SampleRejected, WireError
from shared.exit_policy import ExitPolicy
from shared.messages import Frame, Rejection, RejectionCode, StepResult, Stop
from shared.spike_codec import Past, SpikeCodec, Spikes
from shared.wire import FRAMING_BYTES, message_bytes

STARTED_ANEW = (RejectionCode.STATE_LOST, RejectionCode.IDLE)
"""Rejections after which a sample is started from its first frame, once."""

LEAST_RETRY_S = 0.005
"""Waited for a slot at least, should a cloud ask for no delay."""

SAMPLE_NUMBERS = 1 << 32
"""They are uint32 on the wire."""


@dataclass(frozen=True)
class EncodedFrame:
    """The frame of one timestep as it goes over the wire, and what it cost to make."""

    codec: int
    spikes: bytes
    head_s: float
    encode_s: float


@dataclass
class OpenSample:
    """A sample between its first frame and its verdict.

    `number` is its name on the wire, a new one for each start. `seen` counts the timesteps whose result is known, over
    all starts; `sent` and `answered` count those of this start.
    """

    number: int
    run: HeadRun
    deadline: float
    past: Past | None = None
    frames: list[EncodedFrame] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    answered: int = 0
    payload_bytes: int = 0
    message_bytes: int = 0
    messages: int = 0
    lost_before: bool = False

    @property
    def sent(self) -> int:
        return len(self.sent_at)

    @property
    def seen(self) -> int:
        return len(self.steps)

    def count(self, message: Frame | Stop) -> None:
        """Add up what is sent."""
        if isinstance(message, Frame):
            self.payload_bytes += len(message.spikes)
        self.message_bytes += message_bytes(message)
        self.messages += 1

    def start_anew(self, number: int) -> None:
        """Everything is to be sent again, under another number: late answers to the old one mean nothing."""
        self.number = number
        self.sent_at = []
        self.answered = 0


class CoInference:
    """Classifies samples with a head here and a tail over there.

    Args:
        head: starts samples and steps them.
        codec: of the bundle's frames.
        transport: an open link.
        policy: when to stop.
        timesteps: T of the bundle.
        lookahead: frames that may be under way beyond the last result; 1 is lockstep, T is full streaming. The verdict
            is the same for all of them: that of the first certain timestep.
        full_t: go on to timestep T even when certain; the verdict is then that of T.
        sample_deadline_s: from a sample's input to its verdict, in seconds.
        on_rejection: told of each rejection, before it is dealt with.
        clock: seconds, for durations and deadlines.
        sleep: waits for a slot.
    """

    def __init__(
        self,
        head: Head,
        codec: SpikeCodec,
        transport: Transport,
        policy: ExitPolicy,
        timesteps: int,
        *,
        lookahead: int = 1,
        full_t: bool = False,
        sample_deadline_s: float = 30.0,
        on_rejection: Callable[[RejectionCode], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._head = head
        self._codec = codec
        self._transport = transport
        self._policy = policy
        self._timesteps = timesteps
        self._lookahead = lookahead
        self._full_t = full_t
        self._sample_deadline_s = sample_deadline_s
        self._on_rejection = on_rejection
        self._clock = clock
        self._sleep = sleep
        self._next_number = 0
        self._head_thread: ThreadPoolExecutor | None = None

    async def classify(self, sample: Sample) -> Verdict:
        """One sample to its verdict. Several may be under way at once, as tasks.

        Raises:
            SampleRejected: the cloud gave the sample up, or there was no verdict within the sample's deadline.
            WireError: the cloud answered something that was not asked; other samples may fare better.
            CloudUnavailable, CloudRefused: the link is lost; no other sample will fare better.
        """
        began = self._clock()
        flight = OpenSample(self._number(), self._head.start(sample.frames), began + self._sample_deadline_s)
        while not self._decided(flight):
            await self._send_ahead(flight)
            answer = await self._receive(sample, flight)
            if isinstance(answer, Rejection):
                await self._start_anew(sample, flight, answer)
            else:
                await self._accept(flight, answer, self._clock())
        latency_s = self._clock() - began
        # Also after timestep T: the slot is free as soon as the cloud reads this.
        stop = Stop(flight.number)
        flight.count(stop)
        await self._transport.send(stop)
        last = flight.steps[-1] if self._full_t else exit_step(flight.steps)
        return Verdict(
            sample.id,
            last.prediction,
            last.confidence,
            last.timestep,
            flight.payload_bytes,
            latency_s,
            "cloud",
            tuple(flight.steps),
            flight.message_bytes,
            flight.message_bytes + FRAMING_BYTES * flight.messages,
        )

    def _decided(self, flight: OpenSample) -> bool:
        if flight.seen == self._timesteps:
            return True
        return not self._full_t and flight.seen > 0 and flight.steps[-1].certain

    async def _send_ahead(self, flight: OpenSample) -> None:
        """Send all frames that may be under way, but none once an answer is here: it may make them superfluous."""
        while flight.sent < min(self._timesteps, flight.seen + self._lookahead):
            if flight.sent == len(flight.frames):
                flight.frames.append(await self._next_frame(flight))
            if flight.sent > 0 and self._transport.arrived(flight.number):
                return
            frame = flight.frames[flight.sent]
            flight.sent_at.append(self._clock())
            message = Frame(flight.number, flight.sent, frame.codec, frame.spikes)
            flight.count(message)
            await self._transport.send(message)

    async def _next_frame(self, flight: OpenSample) -> EncodedFrame:
        began = self._clock()
        spikes = await self._step(flight)
        stepped = self._clock()
        codec, data = self._codec.encode(spikes, flight.past)
        flight.past = self._codec.after(flight.past, spikes)
        return EncodedFrame(codec, data, stepped - began, self._clock() - stepped)

    async def _step(self, flight: OpenSample) -> Spikes:
        if self._lookahead == 1 or flight.sent == 0:
            return flight.run.step()
        # Frames are under way: in another thread the head leaves this one free to take their results meanwhile.
        if self._head_thread is None:
            self._head_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="head")
        return await asyncio.get_running_loop().run_in_executor(self._head_thread, flight.run.step)

    async def _receive(self, sample: Sample, flight: OpenSample) -> StepResult | Rejection:
        try:
            return await self._transport.receive(flight.number, flight.deadline - self._clock())
        except TimeoutError:
            await self._transport.send(Stop(flight.number))
            raise self._too_late(sample, f"timestep {flight.answered + 1} was not answered") from None

    async def _accept(self, flight: OpenSample, result: StepResult, now: float) -> None:
        flight.answered += 1
        if result.timestep != flight.answered or flight.answered > flight.sent:
            await self._transport.send(Stop(flight.number))
            raise WireError(f"the cloud answered timestep {result.timestep}, timestep {flight.answered} was due")
        if flight.answered <= flight.seen:
            return  # replayed: its result is known, and was not certain enough
        frame = flight.frames[flight.seen]
        flight.steps.append(
            Step(
                timestep=result.timestep,
                prediction=result.prediction,
                confidence=max(result.confidences),
                certain=self._policy.should_stop(result.confidences),
                head_s=frame.head_s,
                encode_s=frame.encode_s,
                send_to_result_s=now - flight.sent_at[flight.seen],
                queue_s=result.queue_us / 1e6,
                tail_s=result.compute_us / 1e6,
                batch_size=result.batch_size,
            )
        )

    async def _start_anew(self, sample: Sample, flight: OpenSample, rejection: Rejection) -> None:
        self._on_rejection(rejection.code)
        if rejection.code is RejectionCode.NO_SLOT:
            wait_s = max(rejection.retry_after_ms / 1000, LEAST_RETRY_S)
            if self._clock() + wait_s >= flight.deadline:
                raise self._too_late(sample, "the cloud had no free slot: give it more, or fewer edges")
            await self._sleep(wait_s)
        elif rejection.code in STARTED_ANEW and not flight.lost_before:
            flight.lost_before = True
        else:
            raise SampleRejected(f"{sample.name}: rejected by the cloud ({rejection.code.name}): {rejection.reason}")
        flight.start_anew(self._number())

    def _too_late(self, sample: Sample, why: str) -> SampleRejected:
        return SampleRejected(
            f"{sample.name}: no verdict within {self._sample_deadline_s:g} s: {why} (or raise --sample-deadline)"
        )

    def _number(self) -> int:
        self._next_number = (self._next_number + 1) % SAMPLE_NUMBERS
        return self._next_number
