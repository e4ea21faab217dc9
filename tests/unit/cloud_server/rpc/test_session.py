"""What a stream's messages do, with a fake engine, a fake clock, and no network."""

from __future__ import annotations

import pytest

from cloud_server.engine.requests import Failed
from shared.messages import RejectionCode, StepResult, Stop
from tests.support.desk import MAX_OPEN, TIMEOUT, TIMESTEPS, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_sample_from_its_first_frame_to_stop(desk: Desk) -> None:
    desk.step(5, 1)
    desk.step(5, 2)
    assert desk.slots.in_use == 1
    assert desk.slots.owners == desk.engine.owners == {"an edge"}, "its share, and its turns, are its owner's"
    assert desk.said() == [(5, 1), (5, 2)]
    desk.session.handle_stop(Stop(5))
    assert desk.slots.in_use == 0
    assert desk.session.expire_idle() is None, "no sample is left"
    desk.session.handle_stop(Stop(5))


def test_lookahead_frames_are_queued_in_order(desk: Desk) -> None:
    for timestep in (1, 2, 3):
        desk.frame(5, timestep)
    assert [request.frame.timestep for request in desk.engine.queue] == [1, 2, 3]
    assert desk.session.has_unanswered_frames
    for _ in range(3):
        desk.answer()
    assert desk.said() == [(5, 1), (5, 2), (5, 3)]
    assert not desk.session.has_unanswered_frames


def test_the_last_result_gives_the_slot_back_and_can_be_asked_for_again(desk: Desk) -> None:
    for timestep in (1, 2, 3):
        desk.step(5, timestep)
    assert desk.slots.in_use == 0
    assert desk.session.open_samples == 0
    desk.said()
    desk.frame(5, 3)
    desk.frame(5, 1)
    assert desk.said() == [(5, 3), (5, 1)]
    assert not desk.engine.queue


def test_finished_samples_that_are_not_stopped_are_kept_for_a_while_and_up_to_a_number(desk: Desk) -> None:
    for sample in range(MAX_OPEN + 1):
        for timestep in (1, 2, 3):
            desk.step(sample, timestep)
    desk.said()
    desk.frame(0, 3)
    assert desk.said() == [(0, "STATE_LOST")], "the oldest made room"
    desk.pass_time(TIMEOUT)
    assert desk.said() == [], "no edge waits for them: they end without a message"
    assert desk.session.expire_idle() is None, "no sample is left"


def test_a_repeated_frame_is_answered_from_the_record(desk: Desk) -> None:
    desk.step(5, 1)
    first = desk.sent[-1]
    desk.frame(5, 1)
    assert desk.sent == [first, first]
    assert not desk.engine.queue


def test_a_frame_repeated_while_it_waits_is_answered_once(desk: Desk) -> None:
    desk.frame(5, 1)
    desk.frame(5, 2)
    desk.frame(5, 1)
    desk.frame(5, 2)
    assert len(desk.engine.queue) == 2
    desk.answer()
    desk.answer()
    assert desk.said() == [(5, 1), (5, 2)]


def test_a_gap_rejects_and_drops_what_waits(desk: Desk) -> None:
    desk.frame(5, 1)
    desk.frame(6, 1)
    desk.frame(5, 3)
    assert desk.said() == [(5, "STATE_LOST")]
    assert [request.frame.sample for request in desk.engine.queue] == [6]
    assert desk.slots.in_use == 1
    desk.frame(5, 2)
    desk.frame(5, 9)
    assert desk.said() == [], "frames under way when it was rejected are not rejected again"
    desk.frame(5, 1)
    assert len(desk.engine.queue) == 2, "it started again"


def test_after_stop_a_rejected_sample_is_a_stranger(desk: Desk) -> None:
    desk.frame(5, 2)
    desk.session.handle_stop(Stop(5))
    desk.frame(5, 2)
    assert desk.said() == [(5, "STATE_LOST"), (5, "STATE_LOST")]


@pytest.mark.parametrize("timestep", [0, TIMESTEPS + 1, 2**32 - 1])
@pytest.mark.parametrize("known", [True, False])
def test_a_timestep_outside_is_invalid(desk: Desk, timestep: int, known: bool) -> None:
    if known:
        desk.step(5, 1)
        desk.said()
    desk.frame(5, timestep)
    assert desk.said() == [(5, "INVALID_FRAME")]
    assert desk.slots.in_use == 0


def test_a_stream_has_its_share_of_samples(desk: Desk) -> None:
    for sample in range(MAX_OPEN + 1):
        desk.frame(sample, 1)
    assert desk.sent[-1].retry_after_ms == 50
    assert desk.said() == [(MAX_OPEN, "NO_SLOT")]
    desk.frame(MAX_OPEN, 2)
    assert desk.said() == []
    desk.session.handle_stop(Stop(0))
    desk.frame(MAX_OPEN, 1)
    assert desk.session.open_samples == MAX_OPEN
    assert desk.said() == []


def test_no_slot_is_left() -> None:
    desk = Desk(slots=1)
    desk.frame(1, 1)
    desk.frame(2, 1)
    assert desk.said() == [(2, "NO_SLOT")]


def test_a_full_queue_is_no_slot_either(desk: Desk) -> None:
    desk.engine.room = 1
    desk.frame(1, 1)
    desk.frame(2, 1)
    assert desk.said() == [(2, "NO_SLOT")]
    assert desk.slots.in_use == 1


def test_a_failure_gives_up_its_sample(desk: Desk) -> None:
    desk.frame(1, 1)
    desk.frame(1, 2)
    request = desk.engine.queue.pop(0)
    desk.session.handle_outcome(request.token, Failed(request, RejectionCode.INTERNAL, "broken"))
    assert desk.said() == [(1, "INTERNAL")]
    assert desk.slots.in_use == 0
    assert not desk.engine.queue


def test_results_of_a_stopped_sample_go_nowhere(desk: Desk) -> None:
    desk.frame(1, 1)
    request = desk.engine.queue.pop(0)  # running
    desk.session.handle_stop(Stop(1))
    desk.frame(1, 1)  # the same number, another sample
    desk.answer(request, (1.0, 0.0, 0.0))
    assert desk.said() == []
    desk.answer()
    assert desk.sent[0].confidences == (0.25, 0.5, 0.25)


def test_a_sample_that_hears_nothing_for_too_long_is_idle(desk: Desk) -> None:
    desk.step(1, 1)
    desk.pass_time(TIMEOUT - 1)
    desk.frame(1, 1)  # a repeated frame is a sign of life
    desk.pass_time(TIMEOUT - 1)
    desk.said()
    desk.pass_time(1)
    assert desk.said() == [(1, "IDLE")]
    assert desk.slots.in_use == 0


def test_a_sample_that_waits_for_the_cloud_is_not_idle(desk: Desk) -> None:
    desk.frame(1, 1)
    desk.pass_time(3 * TIMEOUT)
    assert desk.said() == []
    desk.answer()
    desk.pass_time(TIMEOUT)
    assert desk.said() == [(1, 1), (1, "IDLE")]


def test_the_sample_that_is_idle_longest_is_due_next(desk: Desk) -> None:
    assert desk.session.expire_idle() is None
    desk.step(1, 1)
    desk.pass_time(1.0)
    desk.step(2, 1)
    assert desk.session.expire_idle() == TIMEOUT
    desk.pass_time(1.0)
    desk.step(1, 2)
    assert desk.session.expire_idle() == 1.0 + TIMEOUT


def test_closing_frees_everything(desk: Desk) -> None:
    desk.frame(1, 1)
    desk.frame(2, 1)
    running = desk.engine.queue.pop(0)
    desk.session.close()
    assert desk.slots.in_use == 0
    assert not desk.engine.queue
    assert desk.session.expire_idle() is None, "no sample is left"
    desk.answer(running)
    assert desk.said() == []


def test_while_draining_open_samples_go_on_and_new_ones_are_left_alone(desk: Desk) -> None:
    desk.step(1, 1)
    desk.session.draining = True
    desk.frame(2, 1)
    desk.frame(2, 2)  # sent ahead: no reason to say that its state is lost
    desk.step(1, 2)
    assert desk.said() == [(1, 1), (1, 2)]
    assert desk.session.open_samples == 1


def test_top_k_is_largest_first_and_the_first_of_equals() -> None:
    desk = Desk(top_k=2)
    desk.frame(1, 1)
    desk.answer(confidences=(0.3, 0.1, 0.3, 0.3))
    assert desk.sent == [StepResult(1, 1, (0.3, 0.3), (0, 2), 1, 2, 3)]


def test_memory_of_rejected_samples_is_bounded(desk: Desk) -> None:
    for sample in range(1000):
        desk.frame(sample, 2)
    assert len(desk.session._rejected) <= 4 * MAX_OPEN
    assert len(desk.sent) == 1000


def test_who_has_used_up_its_share_is_rejected_for_now_and_named(desk: Desk) -> None:
    desk.slots.shared_out = True
    desk.frame(5, 1)
    assert desk.said() == [(5, "NO_SLOT")]
    assert desk.limited == ["slots"]
    desk.slots.shared_out = False
    desk.queue_room = False
    desk.frame(5, 1)
    assert desk.said() == [(5, "NO_SLOT")]
    assert desk.limited == ["slots", "queue"]


def test_a_stream_is_idle_while_no_sample_has_a_slot(desk: Desk) -> None:
    assert desk.session.idle_since == 0.0
    desk.pass_time(1.0)
    desk.step(5, 1)
    assert desk.session.idle_since is None
    desk.pass_time(2.0)
    desk.session.handle_stop(Stop(5))
    assert desk.session.idle_since == 3.0
    desk.frame(6, 2)
    assert desk.session.idle_since == 3.0, "a sample that is rejected was none"
