"""Classifies samples with a head here and a tail in the cloud, or with the local exit alone.

It does not depend on gRPC or torch: head and link are interfaces, the clock is a parameter. `in_flight.py` classifies
one sample with the cloud.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from edge_client.heads.base import Head
from edge_client.heads.local_exit import LocalExit
from edge_client.inference.frame_producer import HeadExecutor
from edge_client.inference.in_flight import SampleContext, SampleInFlight
from edge_client.inference.link_loss import LinkLossPolicy
from edge_client.inference.lookahead import FixedLookahead, Lookahead
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.link.base import Link
from shared.errors import CloudRefused, CloudUnavailable, SampleRejected, WireError
from shared.exit_policy import ExitPolicy
from shared.messages import RejectionCode, StepResult
from shared.spike_codec import SpikeCodec

WAIT = LinkLossPolicy("wait")

LocalExitReason = Literal["sure", "fallback"]
"""Why the local exit answered: it was sure before a byte was sent, or no cloud answered."""


class CoInference:
    """Classifies samples.

    Args:
        head: starts samples and steps them.
        codec: of the bundle's frames.
        link: opens the streams.
        policy: when to stop.
        timesteps: T of the bundle.
        lookahead: how far ahead of the answers frames are produced and sent. The verdict is the same for all: that of
            the first certain timestep.
        full_t: go on to timestep T even when certain; the verdict is then that of T.
        sample_deadline_s: from a sample's input to its verdict, in seconds.
        link_loss: what happens to a sample without a cloud.
        local_exit: answers here; needed where `link_loss` falls back.
        local_first: ask the local exit before anything is sent, and stop there if it is sure.
        in_flight: samples that may be classified at once.
        top_k: classes that a verdict names.
        on_rejection: called with each rejection, before it is handled.
        on_local_exit: called for each verdict of the local exit, with the reason.
        clock: seconds, for durations and deadlines.
        wall_clock: seconds since 1970, for the moment of an answer.
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
        link_loss: LinkLossPolicy = WAIT,
        local_exit: LocalExit | None = None,
        local_first: bool = False,
        in_flight: int = 1,
        top_k: int = 1,
        on_rejection: Callable[[RejectionCode], None] = lambda _: None,
        on_local_exit: Callable[[LocalExitReason], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._falls_back = link_loss.on_loss == "fallback"
        assert local_exit is not None or not (local_first or self._falls_back)
        self._executor = HeadExecutor(single_sample=in_flight == 1)
        self._context = SampleContext(
            head=head,
            codec=codec,
            executor=self._executor,
            link=link,
            policy=policy,
            timesteps=timesteps,
            lookahead=lookahead or FixedLookahead(1),
            full_t=full_t,
            sample_deadline_s=sample_deadline_s,
            link_loss=link_loss,
            answer_patience_s=link_loss.answer_patience_s,
            on_rejection=on_rejection,
            top_k=top_k,
            clock=clock,
            wall_clock=wall_clock,
            sleep=sleep,
        )
        self._local_exit = local_exit
        self._local_first = local_first
        self._on_local_exit = on_local_exit

    async def classify(self, sample: Sample) -> Verdict:
        """Classify one sample. Several tasks may do so at once.

        Raises:
            SampleRejected: the cloud gave the sample up, or there was no verdict within the sample's deadline.
            WireError: the cloud sent an answer that does not fit; other samples may succeed.
            CloudUnavailable, CloudRefused: there is no cloud, so other samples will fail too.
        """
        flight = SampleInFlight(self._context, sample)
        try:
            if self._local_first:
                verdict = await self._ask_local_exit(flight)
                if verdict is not None:
                    return verdict
            return await flight.ask_cloud()
        except (SampleRejected, WireError, CloudUnavailable, CloudRefused):
            if not self._falls_back:
                raise
            return await self._fall_back(flight)
        finally:
            flight.close()

    def close(self) -> None:
        """End the head's thread."""
        self._executor.close()

    async def _ask_local_exit(self, flight: SampleInFlight) -> Verdict | None:
        """The local exit's verdict on the first timestep, if it is sure."""
        assert self._local_exit is not None
        await flight.producer.get(0)
        confidences = self._local_exit.confidences(flight.producer.mean_spikes())
        if not self._local_exit.policy.should_stop(confidences):
            return None
        return self._local_verdict(flight, confidences, "sure")

    async def _fall_back(self, flight: SampleInFlight) -> Verdict:
        """The local exit's verdict: from the present timestep on at the first where it is sure, or at T."""
        assert self._local_exit is not None
        producer = flight.producer
        await producer.cancel_prefetch()
        if not producer.encoded:
            await producer.get(0)
        while True:
            confidences = self._local_exit.confidences(producer.mean_spikes())
            timestep = len(producer.encoded)
            if timestep == self._context.timesteps or self._local_exit.policy.should_stop(confidences):
                return self._local_verdict(flight, confidences, "fallback")
            await producer.get(timestep)

    def _local_verdict(
        self, flight: SampleInFlight, confidences: tuple[float, ...], reason: LocalExitReason
    ) -> Verdict:
        flight.stop()
        self._on_local_exit(reason)
        best = StepResult(0, len(flight.producer.encoded), confidences)
        return flight.verdict(best, "edge", self._context.clock())
