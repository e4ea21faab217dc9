"""The loop of one sample, against a scripted cloud."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edge_client.inference.lookahead import FixedLookahead, Plan
from shared.errors import SampleRejected, WireError
from shared.messages import Frame, RejectionCode, StepResult, Stop
from shared.wire import FRAMING_BYTES, message_bytes
from tests.unit.edge_client.fakes import (
    Clock,
    CountingHead,
    FakeSampleStream,
    FakeTransport,
    T,
    sample,
)
from tests.unit.edge_client.inference.loops import (
    SURE,
    UNSURE,
    Scripted,
    loop,
    rejection,
)


@pytest.mark.parametrize("lookahead", [1, T])
async def test_a_sample_is_stopped_once_and_its_bytes_are_counted(lookahead: int) -> None:
    transport = FakeTransport({1: SURE}, patient=lookahead)
    verdict = await loop(transport, lookahead=FixedLookahead(lookahead)).classify(sample())
    assert (verdict.timesteps, len(transport.frames)) == (1, lookahead)
    assert transport.stopped == [1]
    frames = sum(message_bytes(frame) + FRAMING_BYTES for frame in transport.frames)
    assert verdict.wire_bytes == frames + message_bytes(Stop(1))


@pytest.mark.parametrize("exit_at", [1, 2, 3, 4])
async def test_the_verdict_is_that_of_the_first_certain_timestep(exit_at: int) -> None:
    transport = FakeTransport({t: SURE if t >= exit_at else UNSURE for t in range(1, T + 1)})
    head = CountingHead()
    verdict = await loop(transport, head=head).classify(sample())
    assert (verdict.timesteps, verdict.prediction, verdict.confidence) == (exit_at, 1, 0.95)
    assert [frame.timestep for frame in transport.frames] == list(range(1, exit_at + 1))
    assert verdict.payload_bytes == exit_at  # 8 spikes are one byte
    assert head.steps == exit_at
    assert transport.stopped == [transport.attempts[0]]
    assert verdict.answered_by == "cloud"


async def test_a_verdict_has_its_moment_and_the_likeliest_classes() -> None:
    transport = FakeTransport(default=(0.1, 0.6, 0.3))
    verdict = await loop(transport, top_k=2, wall_clock=lambda: 1_800_000_000.0).classify(sample())
    assert verdict.top_k == ((1, 0.6), (2, 0.3))
    assert verdict.answered_at == 1_800_000_000.0


async def test_a_sample_that_is_never_certain_ends_at_the_last_timestep() -> None:
    transport = FakeTransport(default=UNSURE)
    verdict = await loop(transport).classify(sample())
    assert (verdict.timesteps, verdict.prediction, verdict.confidence) == (T, 0, 0.6)
    assert [step.certain for step in verdict.steps] == [False] * T
    assert len(transport.stopped) == 1


async def test_full_t_goes_on_and_remembers_where_it_would_have_stopped() -> None:
    transport = FakeTransport({1: UNSURE, 2: SURE, 3: UNSURE, 4: UNSURE})
    verdict = await loop(transport, full_t=True).classify(sample())
    assert (verdict.timesteps, verdict.prediction) == (T, 0)
    assert [step.certain for step in verdict.steps] == [False, True, False, False]


@pytest.mark.parametrize(
    "plan", [Plan(2, 2), Plan(3, 3), Plan(4, 4), Plan(9, 9), Plan(1, 3), Plan(2, 1), Plan(1, 1, 3)]
)
@pytest.mark.parametrize("exit_at", [1, 2, 4])
async def test_lookahead_changes_what_is_sent_and_never_the_answer(plan: Plan, exit_at: int) -> None:
    table = {t: SURE if t == exit_at else UNSURE for t in range(1, T + 1)}
    lookahead = Scripted(plan)
    transport = FakeTransport(table, patient=1)
    verdict = await loop(transport, lookahead=lookahead).classify(sample())
    assert (verdict.timesteps, verdict.prediction) == (exit_at, 1)
    # A cloud that answers at once: what is sent in vain depends on how fast the head is, and the plan is its bound.
    assert exit_at <= len(transport.frames) <= plan.sendable(exit_at - 1, T)
    assert verdict.payload_bytes == len(transport.frames)
    assert lookahead.exits == [exit_at]


@pytest.mark.parametrize("ahead", [1, 2, 3, 4])
async def test_frames_are_sent_as_far_ahead_as_the_plan_says(ahead: int) -> None:
    transport = FakeTransport({1: UNSURE, 2: SURE}, patient=ahead)
    lookahead = Scripted(Plan(ahead, ahead))
    verdict = await loop(transport, lookahead=lookahead).classify(sample())
    assert (verdict.timesteps, verdict.prediction) == (2, 1)
    assert [frame.timestep for frame in transport.frames] == list(range(1, min(T, 1 + ahead) + 1))
    assert transport.most_ahead == ahead
    assert lookahead.alone == [ahead == 1] * 2


async def test_frames_made_ahead_are_not_sent_before_their_time() -> None:
    head = CountingHead()
    transport = FakeTransport({3: SURE}, UNSURE)
    lookahead = Scripted(Plan(1, 1, 3))
    verdict = await loop(transport, head=head, lookahead=lookahead).classify(sample())
    assert verdict.timesteps == 3
    assert [frame.timestep for frame in transport.frames] == [1, 2, 3]
    assert transport.most_ahead == 1
    assert lookahead.alone == [True, True, True]


async def test_nothing_is_sent_ahead_once_an_answer_is_here() -> None:
    class AtOnce(FakeSampleStream):
        @property
        def has_answer(self) -> bool:  # type: ignore[override]
            return bool(self.answers)

    transport = FakeTransport({3: SURE}, UNSURE, handle=AtOnce)
    verdict = await loop(transport, lookahead=Scripted(Plan(4, 4, 3))).classify(sample())
    assert (verdict.timesteps, transport.most_ahead, len(transport.frames)) == (3, 1, 3)


async def test_frames_that_never_left_are_not_counted() -> None:
    class Held(FakeSampleStream):
        """Its frames after the first wait in a queue."""

        def stop(self) -> list[Frame | Stop]:
            return [*self.transport.frames[1:], *super().stop()]

    transport = FakeTransport({1: SURE}, patient=T, handle=Held)
    verdict = await loop(transport, lookahead=FixedLookahead(T)).classify(sample())
    (first, *_) = transport.frames
    assert verdict.payload_bytes == len(first.spikes)
    assert verdict.wire_bytes == message_bytes(first) + FRAMING_BYTES + message_bytes(Stop(1))


async def test_nothing_is_prefetched_before_what_is_sent_has_left() -> None:
    class NothingLeaves(FakeSampleStream):
        def when_flushed(self, do: Callable[[], None]) -> None:
            waiting.append(do)

    waiting: list[Callable[[], None]] = []
    head = CountingHead()
    transport = FakeTransport({3: SURE}, UNSURE, handle=NothingLeaves)
    verdict = await loop(transport, head=head, lookahead=Scripted(Plan(4, 4, 3))).classify(sample())
    assert (verdict.timesteps, head.steps, transport.most_ahead) == (3, 3, 1)
    assert waiting, "the loop did not ask"


async def test_a_head_that_fails_in_its_thread_is_heard() -> None:
    class Broken(CountingHead):
        def start(self, pixels: Any) -> Any:
            raise ValueError("broken")

    network = loop(FakeTransport(), head=Broken(), in_flight=2)
    with pytest.raises(ValueError, match="broken"):
        await network.classify(sample())


async def test_no_slot_is_tried_again_after_the_delay_that_was_asked_for() -> None:
    clock = Clock()
    transport = FakeTransport(default=SURE, rejections={(1, 1): rejection(RejectionCode.NO_SLOT, 250)})
    told: list[RejectionCode] = []
    head = CountingHead()
    verdict = await loop(transport, clock, head=head, on_rejection=told.append).classify(sample())
    assert verdict.timesteps == 1
    assert clock.slept == [0.25]
    assert told == [RejectionCode.NO_SLOT]
    assert head.steps == 1  # the frame is kept, not computed again
    assert verdict.payload_bytes == 2  # it was sent twice
    assert len(set(transport.attempts)) == 2


async def test_no_slot_ends_with_the_sample_deadline() -> None:
    clock = Clock()
    never = {(attempt, 1): rejection(RejectionCode.NO_SLOT, 400) for attempt in range(1, 100)}
    with pytest.raises(SampleRejected, match="no free slot"):
        await loop(FakeTransport(rejections=never), clock, sample_deadline_s=2.0).classify(sample())
    assert clock.now - 100.0 <= 2.0


@pytest.mark.parametrize("code", [RejectionCode.STATE_LOST, RejectionCode.IDLE])
async def test_lost_state_is_rebuilt_from_the_first_frame_once(code: RejectionCode) -> None:
    table = {1: UNSURE, 2: UNSURE, 3: SURE}
    transport = FakeTransport(table, rejections={(1, 3): rejection(code)})
    head = CountingHead()
    verdict = await loop(transport, head=head).classify(sample())
    assert (verdict.timesteps, verdict.prediction) == (3, 1)
    assert [(transport.attempts.index(f.sample), f.timestep, f.spikes[0]) for f in transport.frames] == [
        (0, 1, 1), (0, 2, 2), (0, 3, 3), (1, 1, 1), (1, 2, 2), (1, 3, 3),
    ]  # fmt: skip
    assert head.steps == 3
    assert [step.timestep for step in verdict.steps] == [1, 2, 3]


async def test_state_lost_twice_fails_the_sample() -> None:
    lost = rejection(RejectionCode.STATE_LOST)
    transport = FakeTransport(default=UNSURE, rejections={(1, 2): lost, (2, 2): lost})
    with pytest.raises(SampleRejected, match="STATE_LOST"):
        await loop(transport).classify(sample())


@pytest.mark.parametrize("code", [RejectionCode.INVALID_FRAME, RejectionCode.INTERNAL])
async def test_a_rejected_sample_fails_and_the_next_one_is_answered(code: RejectionCode) -> None:
    transport = FakeTransport(default=SURE, rejections={(1, 1): rejection(code)})
    network = loop(transport)
    with pytest.raises(SampleRejected, match=rf"sample3.*{code.name}.*as scripted"):
        await network.classify(sample(3))
    assert (await network.classify(sample(4))).timesteps == 1


async def test_silence_fails_the_sample_and_frees_its_slot() -> None:
    transport = FakeTransport(silent=True)
    with pytest.raises(SampleRejected, match="timestep 1 was not answered"):
        await loop(transport, sample_deadline_s=1.0).classify(sample())
    assert transport.stopped == transport.attempts


async def test_an_answer_to_another_timestep_fails_the_sample() -> None:
    class Muddled(FakeTransport):
        def answer(self, frame: Any) -> StepResult:
            return StepResult(frame.sample, frame.timestep + 1, UNSURE)

    transport = Muddled()
    with pytest.raises(WireError, match="answered timestep 2, timestep 1 was due"):
        await loop(transport).classify(sample())
    assert transport.stopped == transport.attempts


async def test_durations_come_from_the_clock_and_from_the_cloud() -> None:
    clock = Clock()

    class Slow(FakeSampleStream):
        async def receive(self, within_s: float) -> Any:
            clock.now += 0.040
            return await super().receive(within_s)

    verdict = await loop(FakeTransport({2: SURE}, UNSURE, handle=Slow), clock).classify(sample())
    assert [step.send_to_result_s for step in verdict.steps] == pytest.approx([0.040, 0.040])
    assert verdict.latency_s == pytest.approx(0.080)
    assert (verdict.steps[0].queue_s, verdict.steps[0].tail_s) == (0.0002, 0.003)


async def test_samples_get_numbers_of_their_own() -> None:
    transport = FakeTransport(default=SURE)
    network = loop(transport)
    for number in range(3):
        await network.classify(sample(number))
    assert len(set(transport.attempts)) == 3
    assert [frame.spikes[0] for frame in transport.frames] == [1, 17, 33]
