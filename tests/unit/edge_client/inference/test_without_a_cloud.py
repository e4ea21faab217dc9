"""The loop of one sample when its cloud is lost, silent, rejects, or is not asked."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_client.inference.link_loss import LinkLossPolicy
from edge_client.inference.lookahead import Plan
from edge_client.inference.verdict import Verdict
from shared.errors import CloudUnavailable, SampleRejected
from shared.messages import Rejection, RejectionCode
from shared.spike_codec import Spikes
from tests.unit.edge_client.fakes import (
    SHAPE,
    Clock,
    CountingHead,
    CountingRun,
    FakeLink,
    FakeTransport,
    T,
    sample,
)
from tests.unit.edge_client.inference.loops import (
    SURE,
    UNSURE,
    Scripted,
    SpikeCounter,
    loop,
    rejection,
)


def lossy(*lost_after: int | None, table: Any = None) -> list[FakeTransport]:
    return [FakeTransport(table or {3: SURE}, UNSURE, lost_after=count) for count in lost_after]


@pytest.mark.parametrize("lookahead", [1, 4])
@pytest.mark.parametrize("lost_after", [(1, None), (2, None), (3, None), (1, 1, 2, None), (2, 3, None)])
async def test_a_lost_stream_costs_a_replay_and_never_an_answer(lost_after: Any, lookahead: int) -> None:
    transports = lossy(*lost_after)
    head = CountingHead()
    clock = Clock()
    link = FakeLink(transports, clock, pause_s=0.5)
    network = loop(link, clock, head=head, lookahead=Scripted(Plan(lookahead, lookahead)))
    verdict = await network.classify(sample())
    network.close()
    assert (verdict.timesteps, verdict.prediction, verdict.answered_by) == (3, 1, "cloud")
    assert [step.timestep for step in verdict.steps] == [1, 2, 3]
    assert head.steps <= T
    for transport in transports:  # the same bytes on each stream, from the first frame on
        assert [(frame.timestep, frame.spikes[0]) for frame in transport.frames] == [
            (t, t) for t in range(1, len(transport.frames) + 1)
        ]


async def test_waiting_for_a_cloud_ends_with_the_sample_deadline() -> None:
    clock = Clock()
    network = loop(FakeLink(lossy(2), clock), clock, sample_deadline_s=3.0)
    with pytest.raises(SampleRejected, match=r"no verdict within 3 s: no cloud, as scripted"):
        await network.classify(sample())
    assert clock.now == 103.0


async def test_fail_ends_the_run_when_no_cloud_came_back_in_time() -> None:
    clock = Clock()
    network = loop(FakeLink(lossy(2), clock), clock, link_loss=LinkLossPolicy("fail", 2.0))
    with pytest.raises(CloudUnavailable, match="no cloud, as scripted"):
        await network.classify(sample())
    assert clock.now == 102.0


@pytest.mark.parametrize(("sure_from", "timesteps"), [(1, 2), (2, 3), (9, 4)])
async def test_fallback_answers_here_and_goes_on_with_the_head_where_it_must(sure_from: int, timesteps: int) -> None:
    clock = Clock()
    head, local = CountingHead(), SpikeCounter(sure_from)
    told: list[str] = []
    network = loop(
        FakeLink(lossy(2), clock), clock,
        head=head, link_loss=LinkLossPolicy("fallback", 1.5), local_exit=local, on_local_exit=told.append,
    )  # fmt: skip
    verdict = await network.classify(sample())
    assert (verdict.answered_by, verdict.timesteps) == ("edge", timesteps)
    assert (verdict.prediction, verdict.confidence) == ((1, 0.92) if sure_from < 9 else (0, 0.7))
    assert [step.timestep for step in verdict.steps] == [1], "what the cloud said before is kept"
    assert head.steps == timesteps
    assert told == ["fallback"]
    assert clock.now == 101.5
    of_all = [np.unpackbits(np.array([t], np.uint8)).reshape(SHAPE) for t in range(1, timesteps + 1)]
    assert np.allclose(local.asked[-1], np.mean(of_all, axis=0))
    # The link is known to be down: the next sample does not wait.
    assert (await network.classify(sample(1))).answered_by == "edge"
    assert clock.now == 101.5


async def test_fallback_answers_for_a_cloud_that_is_silent_and_frees_the_slot() -> None:
    clock = Clock()
    transport = FakeTransport(silent=True)
    network = loop(transport, clock, link_loss=LinkLossPolicy("fallback", 1.0), local_exit=SpikeCounter(1))
    verdict = await network.classify(sample())
    assert (verdict.answered_by, verdict.timesteps, verdict.payload_bytes) == ("edge", 1, 1)
    assert transport.stopped == transport.attempts


@pytest.mark.parametrize("in_flight", [1, 32])
@pytest.mark.parametrize("rejections", [{}, {(1, 1): rejection(RejectionCode.NO_SLOT, 50)}])
async def test_the_time_of_the_head_is_not_the_silence_of_the_cloud(
    rejections: dict[tuple[int, int], Rejection], in_flight: int
) -> None:
    clock = Clock()

    class Slow(CountingHead):
        def start(self, pixels: NDArray[np.uint8]) -> CountingRun:
            return SlowRun(self, 0)

    class SlowRun(CountingRun):
        def step(self) -> Spikes:
            clock.now += 0.15
            return super().step()

    transport = FakeTransport({3: SURE}, UNSURE, rejections)
    network = loop(
        transport, clock,
        head=Slow(), in_flight=in_flight, link_loss=LinkLossPolicy("fallback", 0.1), local_exit=SpikeCounter(1),
    )  # fmt: skip
    verdict = await network.classify(sample())
    network.close()
    assert (verdict.answered_by, verdict.timesteps) == ("cloud", 3)


@pytest.mark.parametrize("code", [RejectionCode.INVALID_FRAME, RejectionCode.INTERNAL, RejectionCode.NO_SLOT])
async def test_fallback_answers_for_a_cloud_that_rejects(code: RejectionCode) -> None:
    transport = FakeTransport(rejections={(1, 1): rejection(code, 5000)})
    verdict = await loop(transport, link_loss=LinkLossPolicy("fallback", 1.0), local_exit=SpikeCounter(1)).classify(
        sample()
    )
    assert verdict.answered_by == "edge"


async def test_a_sure_local_exit_sends_nothing_and_an_unsure_one_changes_nothing() -> None:
    transport = FakeTransport({1: UNSURE, 2: SURE})
    told: list[str] = []
    network = loop(transport, local_exit=SpikeCounter(1), local_first=True, on_local_exit=told.append)
    verdict = await network.classify(sample())
    assert (verdict.answered_by, verdict.timesteps, verdict.payload_bytes, verdict.wire_bytes) == ("edge", 1, 0, 0)
    assert (transport.sent, told) == ([], ["sure"])
    other = await loop(transport, local_exit=SpikeCounter(9), local_first=True).classify(sample())
    assert (other.answered_by, other.timesteps) == ("cloud", 2)


async def test_lost_state_may_be_rebuilt_once_on_each_stream() -> None:
    lost = {(1, 2): rejection(RejectionCode.STATE_LOST)}
    first = FakeTransport(default=UNSURE, rejections=lost, lost_after=4)
    second = FakeTransport({3: SURE}, UNSURE, rejections=lost)
    clock = Clock()
    verdict = await loop(FakeLink([first, second], clock), clock).classify(sample())
    assert verdict.timesteps == 3


confidences = st.floats(0.0, 1.0).map(lambda p: (1.0 - p, p))


@given(
    answers=st.lists(confidences, min_size=T, max_size=T),
    plan=st.builds(Plan, st.integers(1, 5), st.integers(1, 5), st.integers(0, 3)),
    lost_after=st.lists(st.integers(1, T), max_size=3),
    lost_state_at=st.none() | st.integers(2, T),
    full_t=st.booleans(),
)
def test_whatever_is_sent_ahead_or_lost_the_verdict_is_that_of_lockstep(
    answers: Any, plan: Plan, lost_after: list[int], lost_state_at: int | None, full_t: bool
) -> None:
    table = dict(enumerate(answers, 1))
    lost_state = {(1, lost_state_at): rejection(RejectionCode.STATE_LOST)} if lost_state_at else {}

    async def run(transports: list[FakeTransport], **settings: Any) -> Verdict:
        clock = Clock()
        network = loop(FakeLink(transports, clock, 0.1), clock, full_t=full_t, **settings)
        try:
            return await network.classify(sample())
        finally:
            network.close()

    lockstep = asyncio.run(run([FakeTransport(table)]))
    transports = [FakeTransport(table, rejections=lost_state, lost_after=count) for count in [*lost_after, None]]
    verdict = asyncio.run(run(transports, lookahead=Scripted(plan)))
    assert [step.prediction for step in verdict.steps] == [step.prediction for step in lockstep.steps]
    assert (verdict.prediction, verdict.confidence, verdict.timesteps, verdict.answered_by) == (
        lockstep.prediction, lockstep.confidence, lockstep.timesteps, "cloud",
    )  # fmt: skip
    assert verdict.payload_bytes >= lockstep.payload_bytes
