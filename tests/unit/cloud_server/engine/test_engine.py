"""The engine with real (tiny) tails: the answers of batches, and that a bad sample affects no other sample."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloud_server.config import CloudConfig
from cloud_server.engine.batch_runner import BatchRunner
from cloud_server.engine.engine import MAX_FAILED_BATCHES
from cloud_server.engine.loaded_bundle import LoadedBundle, load_bundle
from cloud_server.engine.requests import Failed, StepRequest
from cloud_server.tails.base import buckets
from shared.bundle import Bundle
from shared.execution import EXECUTIONS
from shared.messages import Codec, Frame, RejectionCode
from tests.support.bundles import make_bundle
from tests.support.engine import NAME, Running, assert_answer, bundle_metrics, make_request, run_batch
from tests.support.processes import DEADLINE, wait_for

SAMPLES = 5
OWNER = "an edge"


@pytest.fixture(scope="module", params=EXECUTIONS)
def bundle(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"), split="layer2").run_as(request.param)


@pytest.fixture
def loaded(bundle: Bundle) -> LoadedBundle:
    config = CloudConfig((bundle.path,), slots=8, max_batch=4)
    return load_bundle(bundle, NAME, config)


@pytest.fixture
def runner(loaded: LoadedBundle) -> Iterator[BatchRunner]:
    with torch.inference_mode():
        yield BatchRunner(loaded, bundle_metrics())


def test_samples_at_different_timesteps_share_a_batch(runner, loaded, frames, expected):
    schedule = [[(0, 1)], [(0, 2), (1, 1)], [(1, 2), (2, 1), (0, 3)], [(2, 2), (0, 4), (1, 3)], [(1, 4), (2, 3)]]
    for batch in schedule:
        outcomes = run_batch(runner, *(make_request(loaded, frames, sample, timestep) for sample, timestep in batch))
        assert [(o.request.frame.sample, o.request.frame.timestep) for o in outcomes] == batch
        for outcome in outcomes:
            assert_answer(outcome, expected, len(batch))


def test_a_row_is_reset_by_its_new_owners_first_frame(runner, loaded, frames, expected):
    for timestep in (1, 2, 3):
        run_batch(runner, make_request(loaded, frames, 0, timestep, row=3))
    for timestep in (1, 2):
        assert_answer(run_batch(runner, make_request(loaded, frames, 1, timestep, row=3))[0], expected)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_frame_that_does_not_decode_fails_alone(runner, loaded, frames, expected, bad):
    requests = [make_request(loaded, frames, sample, 1) for sample in range(3)]
    requests[bad] = StepRequest(bad, bad, Frame(bad, 1, Codec.PACKED_BITS, b"no"))
    outcomes = run_batch(runner, *requests)
    for position, outcome in enumerate(outcomes):
        if position == bad:
            assert isinstance(outcome, Failed)
            assert outcome.code is RejectionCode.INVALID_FRAME
        else:
            assert_answer(outcome, expected, 2)


def test_a_batch_of_nothing_but_bad_frames(runner, loaded):
    requests = [StepRequest(n, n, Frame(n, 1, 9, b"")) for n in range(2)]
    assert all(isinstance(outcome, Failed) for outcome in run_batch(runner, *requests))


def test_a_row_that_is_not_at_the_timestep_before_has_lost_its_state(runner, loaded, frames, expected):
    run_batch(runner, make_request(loaded, frames, 0, 1))
    outcomes = run_batch(runner, make_request(loaded, frames, 0, 3), make_request(loaded, frames, 1, 1))
    assert isinstance(outcomes[0], Failed)
    assert outcomes[0].code is RejectionCode.STATE_LOST
    assert_answer(outcomes[1], expected)
    assert_answer(run_batch(runner, make_request(loaded, frames, 0, 2))[0], expected)


class Breaks:
    """A tail that fails while a certain sample's frame is in its batch, and is well otherwise."""

    def __init__(self, loaded: LoadedBundle, poison: NDArray[np.uint8]) -> None:
        self._step = loaded.tail.step
        self._poison = poison
        loaded.tail.step = self  # type: ignore[assignment,method-assign]

    def __call__(self, frames: Sequence[Any], timesteps: Sequence[int], state: Any) -> Any:
        stepped = self._step(frames, timesteps, state)  # after the state was overwritten: a retry must not see that
        if any(np.array_equal(frame, self._poison) for frame in frames):
            raise RuntimeError("poisoned")
        return stepped


def test_a_batch_that_fails_is_stepped_one_by_one(runner, loaded, frames, expected, caplog):
    caplog.set_level(logging.CRITICAL)
    run_batch(runner, *(make_request(loaded, frames, sample, 1) for sample in range(3)))
    Breaks(loaded, frames[1, 1])
    outcomes = run_batch(runner, *(make_request(loaded, frames, sample, 2) for sample in range(3)))
    assert isinstance(outcomes[1], Failed)
    assert outcomes[1].code is RejectionCode.INTERNAL
    assert "poisoned" not in outcomes[1].reason
    for sample in (0, 2):
        assert_answer(outcomes[sample], expected, 1)
        for timestep in (3, 4):
            assert_answer(run_batch(runner, make_request(loaded, frames, sample, timestep))[0], expected)


def lose_the_numbers_of(loaded: LoadedBundle, sample: NDArray[np.uint8]) -> None:
    """Let the logits of the sample in row 0 be no numbers at timestep 2; its frames are [T, C, H, W]."""
    if loaded.execution == "spiking":
        broken = loaded.slots.gather([0])
        broken.logits.fill_(float("nan"))
        loaded.slots._buffer[0] = broken.block[0]  # type: ignore[attr-defined]
        return
    network, counted = loaded.tail._network, sample[:2].sum(0)  # type: ignore[attr-defined]
    sound = network.logits

    def logits(sums: NDArray[np.uint8], timesteps: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = sound(sums, timesteps)
        found[[np.array_equal(one, counted) for one in sums]] = np.nan
        return found

    network.logits = logits


def test_confidences_that_are_no_numbers_fail_alone(runner, loaded, frames, expected):
    run_batch(runner, *(make_request(loaded, frames, sample, 1) for sample in range(2)))
    lose_the_numbers_of(loaded, frames[:, 0])
    outcomes = run_batch(runner, *(make_request(loaded, frames, sample, 2) for sample in range(2)))
    assert isinstance(outcomes[0], Failed)
    assert outcomes[0].code is RejectionCode.INTERNAL
    assert_answer(outcomes[1], expected)


def test_the_engine_answers_lookahead_in_order_and_delivers_once_a_batch(loaded, frames, expected):
    with Running([loaded], bundle_metrics()) as running:
        for timestep in range(1, 5):
            for sample in range(SAMPLES):
                assert running.engine.submit(
                    loaded, OWNER, sample % 2, sample, make_request(loaded, frames, sample, timestep)
                )
        outcomes = running.wait(4 * SAMPLES)
        for outcome in outcomes:
            assert_answer(outcome, expected)
        for sample in range(SAMPLES):
            assert [o.request.frame.timestep for o in outcomes if o.request.frame.sample == sample] == [1, 2, 3, 4]
        assert running.deliveries < len(outcomes)


def test_a_failed_samples_waiting_frames_are_dropped(loaded, frames, expected):
    with Running([loaded], bundle_metrics()) as running:
        running.engine.submit(loaded, OWNER, 0, 0, StepRequest(0, 0, Frame(0, 1, Codec.PACKED_BITS, b"no")))
        for timestep in (2, 3):
            running.engine.submit(loaded, OWNER, 0, 0, make_request(loaded, frames, 0, timestep))
        running.engine.submit(loaded, OWNER, 0, 1, make_request(loaded, frames, 1, 1))
        running.wait(2)
    failed = [outcome for outcome in running.outcomes if isinstance(outcome, Failed)]
    assert failed[0].code is RejectionCode.INVALID_FRAME
    # Those that came after the batch had ended are stepped on their own, and find no state to go on from.
    assert all(outcome.code is RejectionCode.STATE_LOST for outcome in failed[1:])


def test_the_engine_outlives_its_own_mistakes(loaded, frames, expected, caplog):
    caplog.set_level(logging.CRITICAL)
    with Running([loaded], bundle_metrics()) as running:
        runner = running.engine._bundles[loaded]
        sound, runner.step = runner.step, lambda *_: 1 / 0  # type: ignore[method-assign]
        running.engine.submit(loaded, OWNER, 0, 0, make_request(loaded, frames, 0, 1))
        assert isinstance(running.wait(1)[0], Failed)
        runner.step = sound  # type: ignore[method-assign]
        running.engine.submit(loaded, OWNER, 0, 1, make_request(loaded, frames, 1, 1))
        assert_answer(running.wait(2)[1], expected)


def test_a_bundle_that_cannot_be_stepped_any_more_is_reported(loaded, frames, caplog):
    caplog.set_level(logging.CRITICAL)
    with Running([loaded], bundle_metrics()) as running:
        loaded.tail.step = lambda *_: 1 / 0  # type: ignore[assignment,method-assign]
        for sample in range(MAX_FAILED_BATCHES):
            assert not running.broken
            running.engine.submit(loaded, OWNER, 0, sample, make_request(loaded, frames, sample, 1))
            running.wait(sample + 1)
        running.wait_until_broken()
    assert running.broken == [loaded]


def test_samples_that_break_their_own_steps_alone_are_no_broken_bundle(loaded, frames, expected, caplog):
    caplog.set_level(logging.CRITICAL)
    with Running([loaded], bundle_metrics()) as running:
        Breaks(loaded, frames[0, 1])
        for count in range(3 * MAX_FAILED_BATCHES):
            running.engine.submit(loaded, OWNER, 0, count, make_request(loaded, frames, 1, 1))
            assert isinstance(running.wait(count + 1)[-1], Failed)
        running.engine.submit(loaded, OWNER, 0, "sound", make_request(loaded, frames, 0, 1))
        assert_answer(running.wait(3 * MAX_FAILED_BATCHES + 1)[-1], expected)
    assert not running.broken


def test_a_tail_that_cannot_step_is_known_before_it_serves(loaded, frames):
    loaded.tail.step = lambda *_: 1 / 0  # type: ignore[assignment,method-assign]
    with Running([loaded], bundle_metrics()) as running:
        assert isinstance(running.errors[0], ZeroDivisionError)


def test_warm_up_leaves_no_trace(loaded, runner, frames, expected):
    assert len(list(runner.warm_up())) == len(buckets(4))
    assert loaded.slots.in_use == 0
    assert loaded.slots.last_frames == [None] * 8
    assert_answer(run_batch(runner, make_request(loaded, frames, 0, 1))[0], expected)


def test_retry_advice_follows_the_measured_batches(loaded: LoadedBundle) -> None:
    with Running([loaded], bundle_metrics()) as running:
        runner = running.engine._bundles[loaded]
        assert runner.seconds > 0, "the warm-up measured a step"
        assert running.engine.retry_after_ms(loaded) == runner.retry_after_ms()


@pytest.mark.parametrize(("seconds", "milliseconds"), [(0.0, 10), (0.05, 200), (100.0, 1000)])
def test_retry_advice_has_bounds(runner: BatchRunner, seconds: float, milliseconds: int) -> None:
    runner.seconds = seconds
    assert runner.retry_after_ms() == milliseconds


class Gate:
    """A tail whose every step waits until it is let through: what goes on beside a running batch can be looked at."""

    def __init__(self, loaded: LoadedBundle) -> None:
        self._step = loaded.tail.step
        self._allowed = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self._loaded = loaded

    def close(self) -> None:
        self._loaded.tail.step = self  # type: ignore[assignment,method-assign]

    def let_through(self, steps: int) -> None:
        self._allowed.release(steps)

    def __call__(self, frames: Sequence[Any], timesteps: Sequence[int], state: Any) -> Any:
        self.entered.release()
        assert self._allowed.acquire(timeout=DEADLINE)
        return self._step(frames, timesteps, state)


def test_while_a_batch_runs_the_next_is_decoded_and_the_last_delivered(loaded, frames, expected):
    gate = Gate(loaded)
    with Running([loaded], bundle_metrics()) as running:
        gate.close()
        requests = {
            (sample, timestep): make_request(loaded, frames, sample, timestep)
            for timestep in (1, 2)
            for sample in range(SAMPLES)
        }
        for (sample, _), each in requests.items():
            running.engine.submit(loaded, OWNER, sample, sample, each)
        assert gate.entered.acquire(timeout=DEADLINE)  # a batch runs: of one sample, or of as many as had come
        gate.let_through(1)
        assert gate.entered.acquire(timeout=DEADLINE)
        running.wait(1)  # though the second batch runs
        assert running.delivered_by == {"engine-helper"}
        second = [entry.item for entry in running.engine._running[1]]
        follow = [requests[each.token, 2] for each in second if each.frame.timestep == 1]
        wait_for(lambda: all(each.decoded is not None for each in follow), "the frames after the running ones")
        gate.let_through(2 * SAMPLES)
        for outcome in running.wait(len(requests)):
            assert_answer(outcome, expected)
    for sample in range(SAMPLES):
        assert [o.request.frame.timestep for o in running.outcomes if o.request.frame.sample == sample] == [1, 2]


def test_frames_that_are_dropped_wait_no_more(loaded, frames):
    gate = Gate(loaded)
    with Running([loaded], bundle_metrics()) as running:
        gate.close()
        for timestep in (1, 2):
            for sample in range(SAMPLES):
                running.engine.submit(loaded, OWNER, sample, sample, make_request(loaded, frames, sample, timestep))
        gate.let_through(1)
        running.wait(1)
        assert loaded.scheduler.waiting
        for sample in range(SAMPLES):
            running.engine.drop(loaded, sample)
        assert loaded.scheduler.waiting == 0
        gate.let_through(2 * SAMPLES)
    assert loaded.scheduler.waiting == 0


def test_threads_that_wait_hold_no_bundle_that_was_removed(bundle, frames):
    loaded_bundles = [load_bundle(bundle, NAME, CloudConfig((bundle.path,), slots=8, max_batch=4))]
    gone = weakref.ref(loaded_bundles[0])

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    gate = Gate(loaded_bundles[0])
    with Running(loaded_bundles, bundle_metrics()) as running:
        gate.close()
        for timestep in (1, 2):
            for sample in range(SAMPLES):
                running.engine.submit(
                    loaded_bundles[0], OWNER, sample, sample, make_request(loaded_bundles[0], frames, sample, timestep)
                )
        gate.let_through(2 * SAMPLES)
        running.wait(2 * SAMPLES)
        assert "engine-helper" in running.delivered_by
        running.engine.remove(loaded_bundles.pop())
        del gate
        wait_for(is_gone, "the bundle to be gone")


def test_with_nothing_else_to_do_the_engine_delivers_itself(loaded, frames, expected):
    with Running([loaded], bundle_metrics()) as running:
        for timestep in range(1, 5):
            running.engine.submit(loaded, OWNER, 0, 0, make_request(loaded, frames, 0, timestep))
            assert_answer(running.wait(timestep)[-1], expected, 1)
    assert running.delivered_by == {"engine"}


def test_outcomes_not_delivered_when_the_engine_stops_are_still_delivered(loaded, frames, expected):
    gate = Gate(loaded)
    with Running([loaded], bundle_metrics()) as running:
        gate.close()
        for sample in range(SAMPLES):
            running.engine.submit(loaded, OWNER, sample, sample, make_request(loaded, frames, sample, 1))
        assert gate.entered.acquire(timeout=DEADLINE)
        gate.let_through(SAMPLES)
    assert running.outcomes
    for outcome in running.outcomes:
        assert_answer(outcome, expected)
