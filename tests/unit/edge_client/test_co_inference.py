"""The loop of one sample, against a scripted cloud."""

from __future__ import annotations

from typing import Any

import pytest

from edge_client.co_inference import CoInference
from shared.errors import SampleRejected, WireError
from shared.exit_policy import ExitPolicy
from shared.messages import Rejection, RejectionCode, StepResult
from shared.spike_codec import SpikeCodec
from tests.unit.edge_client.fakes import SHAPE, Clock, CountingHead, FakeTransport, T, sample

SURE = (0.05, 0.95)
UNSURE = (0.6, 0.4)


def loop(transport: FakeTransport, clock: Clock | None = None, **settings: Any) -> CoInference:
    clock = clock or Clock()
    head = settings.pop("head", None) or CountingHead()
    policy = settings.pop("policy", ExitPolicy("max_probability", 0.9))
    codec = SpikeCodec(SHAPE)
    return CoInference(head, codec, transport, policy, T, clock=clock, sleep=clock.sleep, **settings)


def rejection(code: RejectionCode, retry_after_ms: int = 0) -> Rejection:
    return Rejection(0, code, "as scripted", retry_after_ms)


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


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("lookahead", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("exit_at", [1, 2, 4])
async def test_lookahead_changes_what_is_sent_and_never_the_answer(lookahead: int, exit_at: int, quick: bool) -> None:
    transport = FakeTransport({t: SURE if t == exit_at else UNSURE for t in range(1, T + 1)}, quick=quick)
    verdict = await loop(transport, lookahead=lookahead).classify(sample())
    assert (verdict.timesteps, verdict.prediction) == (exit_at, 1)
    assert transport.most_ahead <= lookahead
    # Frames that wait for nothing but their turn are not sent once a certain answer is here.
    assert len(transport.frames) == (exit_at if quick else min(T, exit_at - 1 + lookahead))
    assert verdict.payload_bytes == len(transport.frames)


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
        def _answer(self, frame: Any) -> StepResult:
            return StepResult(frame.sample, frame.timestep + 1, UNSURE)

    transport = Muddled()
    with pytest.raises(WireError, match="answered timestep 2, timestep 1 was due"):
        await loop(transport).classify(sample())
    assert transport.stopped == transport.attempts


async def test_durations_come_from_the_clock_and_from_the_cloud() -> None:
    clock = Clock()

    class Slow(FakeTransport):
        async def receive(self, sample: int, within_s: float) -> Any:
            clock.now += 0.040
            return await super().receive(sample, within_s)

    verdict = await loop(Slow({2: SURE}, UNSURE), clock).classify(sample())
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
