"""The engine with real (tiny) tails: what a batch gives, and that a bad sample harms nobody else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloud_server.batch_runner import BatchRunner
from cloud_server.config import CloudConfig
from cloud_server.engine import Engine
from cloud_server.lane import Lane, load_lane
from cloud_server.scheduler import Queued
from cloud_server.work import Answered, Failed, Outcome, Work
from shared.bundle import Bundle
from shared.messages import Codec, Frame, RejectionCode
from shared.metrics import CLOUD_METRICS, Metrics
from tests.support.bundles import load_split, make_bundle, random_inputs, reference_confidences, wire_frames

SAMPLES = 5
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"), split="layer2")


@pytest.fixture(scope="module")
def frames(bundle: Bundle) -> NDArray[np.uint8]:
    network = load_split(bundle)
    return wire_frames(network, random_inputs(network.spec, SAMPLES, seed=1))


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> NDArray[np.float32]:
    network = load_split(bundle)
    return reference_confidences(network, random_inputs(network.spec, SAMPLES, seed=1)).numpy()


@pytest.fixture
def lane(bundle: Bundle) -> Lane:
    config = CloudConfig((bundle.path,), slots=8, max_batch=4)
    return load_lane(bundle, "b", config, torch.device("cpu"))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CLOUD_METRICS, {"bundle": ("b",)})


@pytest.fixture
def runner(metrics: Metrics) -> Iterator[BatchRunner]:
    with torch.inference_mode():
        yield BatchRunner(metrics)


def work(lane: Lane, frames: NDArray[np.uint8], sample: int, timestep: int, row: int | None = None) -> Work:
    codec, data = lane.codec.encode(frames[timestep - 1, sample])
    return Work(sample, sample if row is None else row, Frame(sample, timestep, codec, data))


def run(runner: BatchRunner, lane: Lane, *works: Work) -> list[Outcome]:
    return runner.run(lane, [Queued("s", each.token, each, 0.0) for each in works])


def assert_answer(outcome: Outcome, expected: NDArray[np.float32], size: int | None = None) -> None:
    assert isinstance(outcome, Answered), outcome
    frame = outcome.work.frame
    assert np.allclose(outcome.confidences, expected[frame.timestep - 1, frame.sample], atol=TOLERANCE, rtol=0)
    assert size is None or outcome.batch_size == size


def test_samples_at_different_timesteps_share_a_batch(runner, lane, frames, expected):
    schedule = [[(0, 1)], [(0, 2), (1, 1)], [(1, 2), (2, 1), (0, 3)], [(2, 2), (0, 4), (1, 3)], [(1, 4), (2, 3)]]
    for batch in schedule:
        outcomes = run(runner, lane, *(work(lane, frames, sample, timestep) for sample, timestep in batch))
        assert [(o.work.frame.sample, o.work.frame.timestep) for o in outcomes] == batch
        for outcome in outcomes:
            assert_answer(outcome, expected, len(batch))


def test_a_row_is_reset_by_its_new_owners_first_frame(runner, lane, frames, expected):
    for timestep in (1, 2, 3):
        run(runner, lane, work(lane, frames, 0, timestep, row=3))
    for timestep in (1, 2):
        assert_answer(run(runner, lane, work(lane, frames, 1, timestep, row=3))[0], expected)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_frame_that_does_not_decode_fails_alone(runner, lane, frames, expected, bad):
    works = [work(lane, frames, sample, 1) for sample in range(3)]
    works[bad] = Work(bad, bad, Frame(bad, 1, Codec.PACKED_BITS, b"no"))
    outcomes = run(runner, lane, *works)
    for position, outcome in enumerate(outcomes):
        if position == bad:
            assert isinstance(outcome, Failed)
            assert outcome.code is RejectionCode.INVALID_FRAME
        else:
            assert_answer(outcome, expected, 2)


def test_a_batch_of_nothing_but_bad_frames(runner, lane):
    works = [Work(n, n, Frame(n, 1, 9, b"")) for n in range(2)]
    assert all(isinstance(outcome, Failed) for outcome in run(runner, lane, *works))


def test_a_row_that_is_not_at_the_timestep_before_has_lost_its_state(runner, lane, frames, expected):
    run(runner, lane, work(lane, frames, 0, 1))
    outcomes = run(runner, lane, work(lane, frames, 0, 3), work(lane, frames, 1, 1))
    assert isinstance(outcomes[0], Failed)
    assert outcomes[0].code is RejectionCode.STATE_LOST
    assert_answer(outcomes[1], expected)
    assert_answer(run(runner, lane, work(lane, frames, 0, 2))[0], expected)


class Breaks:
    """A tail that fails while a certain sample's frame is in its batch, and is well otherwise."""

    def __init__(self, lane: Lane, poison: NDArray[np.uint8]) -> None:
        self._step = lane.tail.step
        self._poison = poison
        lane.tail.step = self  # type: ignore[assignment,method-assign]

    def __call__(self, frames: Sequence[Any], timesteps: Sequence[int], state: Any) -> Any:
        stepped = self._step(frames, timesteps, state)  # after the state was overwritten: a retry must not see that
        if any(np.array_equal(frame, self._poison) for frame in frames):
            raise RuntimeError("poisoned")
        return stepped


def test_a_batch_that_fails_is_stepped_one_by_one(runner, lane, frames, expected, caplog):
    caplog.set_level(logging.CRITICAL)
    run(runner, lane, *(work(lane, frames, sample, 1) for sample in range(3)))
    Breaks(lane, frames[1, 1])
    outcomes = run(runner, lane, *(work(lane, frames, sample, 2) for sample in range(3)))
    assert isinstance(outcomes[1], Failed)
    assert outcomes[1].code is RejectionCode.INTERNAL
    assert "poisoned" not in outcomes[1].reason
    for sample in (0, 2):
        assert_answer(outcomes[sample], expected, 1)
        for timestep in (3, 4):
            assert_answer(run(runner, lane, work(lane, frames, sample, timestep))[0], expected)


def test_confidences_that_are_no_numbers_fail_alone(runner, lane, frames, expected):
    run(runner, lane, *(work(lane, frames, sample, 1) for sample in range(2)))
    lane.slots._logits[0] = float("nan")
    outcomes = run(runner, lane, *(work(lane, frames, sample, 2) for sample in range(2)))
    assert isinstance(outcomes[0], Failed)
    assert outcomes[0].code is RejectionCode.INTERNAL
    assert_answer(outcomes[1], expected)


class Running:
    """An engine whose outcomes are collected; ends with the block."""

    def __init__(self, lanes: Sequence[Lane], metrics: Metrics) -> None:
        self.outcomes: list[Outcome] = []
        self.deliveries = 0
        self._arrived = threading.Condition()
        self._warm = threading.Event()
        self.error: Exception | None = None
        self.engine = Engine(lanes, deliver=self._deliver, warmed_up=self._warmed_up, metrics=metrics, threads=1)

    def __enter__(self) -> Running:
        self.engine.start()
        assert self._warm.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.stop()
        assert all(thread.name != "engine" for thread in threading.enumerate())

    def _warmed_up(self, error: Exception | None) -> None:
        self.error = error
        self._warm.set()

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        with self._arrived:
            self.outcomes.extend(outcomes)
            self.deliveries += 1
            self._arrived.notify()

    def wait(self, count: int) -> list[Outcome]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.outcomes) >= count, 30)
            return self.outcomes


def test_the_engine_answers_lookahead_in_order_and_delivers_once_a_batch(lane, frames, expected, metrics):
    with Running([lane], metrics) as running:
        for timestep in range(1, 5):
            for sample in range(SAMPLES):
                assert running.engine.submit(lane, sample % 2, sample, work(lane, frames, sample, timestep))
        outcomes = running.wait(4 * SAMPLES)
        for outcome in outcomes:
            assert_answer(outcome, expected)
        for sample in range(SAMPLES):
            assert [o.work.frame.timestep for o in outcomes if o.work.frame.sample == sample] == [1, 2, 3, 4]
        assert running.deliveries < len(outcomes)


def test_a_failed_samples_waiting_frames_are_dropped(lane, frames, expected, metrics):
    with Running([lane], metrics) as running:
        running.engine.submit(lane, 0, 0, Work(0, 0, Frame(0, 1, Codec.PACKED_BITS, b"no")))
        for timestep in (2, 3):
            running.engine.submit(lane, 0, 0, work(lane, frames, 0, timestep))
        running.engine.submit(lane, 0, 1, work(lane, frames, 1, 1))
        running.wait(2)
    failed = [outcome for outcome in running.outcomes if isinstance(outcome, Failed)]
    assert failed[0].code is RejectionCode.INVALID_FRAME
    # Those that came after the batch had ended are stepped on their own, and find no state to go on from.
    assert all(outcome.code is RejectionCode.STATE_LOST for outcome in failed[1:])


def test_the_engine_outlives_its_own_mistakes(lane, frames, expected, metrics, caplog):
    caplog.set_level(logging.CRITICAL)
    with Running([lane], metrics) as running:
        sound, running.engine._runner.run = running.engine._runner.run, lambda *_: 1 / 0  # type: ignore[method-assign]
        running.engine.submit(lane, 0, 0, work(lane, frames, 0, 1))
        assert isinstance(running.wait(1)[0], Failed)
        running.engine._runner.run = sound  # type: ignore[method-assign]
        running.engine.submit(lane, 0, 1, work(lane, frames, 1, 1))
        assert_answer(running.wait(2)[1], expected)


def test_a_tail_that_cannot_step_is_known_before_it_serves(lane, frames, metrics):
    lane.tail.step = lambda *_: 1 / 0  # type: ignore[assignment,method-assign]
    with Running([lane], metrics) as running:
        assert isinstance(running.error, ZeroDivisionError)


def test_warm_up_leaves_no_trace(lane, runner, frames, expected):
    runner.warm_up(lane)
    assert lane.slots.in_use == 0
    assert lane.batch_seconds > 0
    assert lane.slots.steps == [0] * 8
    assert_answer(run(runner, lane, work(lane, frames, 0, 1))[0], expected)


def test_retry_advice_has_bounds(lane: Lane, tmp_path: Path) -> None:
    for seconds, milliseconds in ((0.0, 10), (0.05, 200), (100.0, 1000)):
        lane.batch_seconds = seconds
        assert lane.retry_after_ms == milliseconds
