"""The engine's parts in tests: one batch by hand, or the threads with their outcomes collected."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_server.engine.batch_runner import BatchRunner
from cloud_server.engine.decoder import Decoder
from cloud_server.engine.engine import Engine
from cloud_server.engine.loaded_bundle import Lane
from cloud_server.engine.scheduler import Queued
from cloud_server.engine.work import Answered, Outcome, Work
from shared.messages import Frame
from shared.metrics import CLOUD_METRICS, Metrics
from tests.support.known import assert_close
from tests.support.processes import DEADLINE

LANE = "b"
"""The name of the lane in these tests' metrics."""


def lane_metrics() -> Metrics:
    """Metrics of a cloud whose one lane is `LANE`."""
    return Metrics(CLOUD_METRICS, {"bundle": (LANE,)})


def batch_runner() -> BatchRunner:
    """A runner on its own; call it in `torch.inference_mode`."""
    return BatchRunner(lane_metrics(), Decoder())


def make_work(lane: Lane, frames: NDArray[np.uint8], sample: int, timestep: int, row: int | None = None) -> Work:
    """A known frame as the edge encodes it, with all frames of the sample before it; its token is the sample."""
    past = None
    for frame in frames[: timestep - 1, sample]:
        past = lane.codec.after(past, frame)
    codec, data = lane.codec.encode(frames[timestep - 1, sample], past)
    return Work(sample, sample if row is None else row, Frame(sample, timestep, codec, data))


def queued(*works: Work) -> list[Queued[Work]]:
    """As the scheduler hands them out."""
    return [Queued("s", work.token, work, 0.0) for work in works]


def run_batch(runner: BatchRunner, lane: Lane, *works: Work) -> list[Outcome]:
    """One batch through all stages."""
    batch = queued(*works)
    runner.decode(lane, batch)
    return runner.outcomes(runner.step(lane, batch, time.perf_counter()))


def assert_answer(outcome: Outcome, expected: NDArray[np.float32], size: int | None = None) -> None:
    """A known frame was answered as the reference does, in a batch of `size` if that is given."""
    assert isinstance(outcome, Answered), outcome
    frame = outcome.work.frame
    assert_close(outcome.confidences, expected, frame.sample, frame.timestep)
    assert size is None or outcome.batch_size == size


class Running:
    """An engine whose outcomes are collected; ends with the block."""

    def __init__(self, lanes: Sequence[Lane], metrics: Metrics) -> None:
        self.outcomes: list[Outcome] = []
        self.deliveries = 0
        self.delivered_by: set[str] = set()
        self._arrived = threading.Condition()
        self.errors: list[Exception | None] = []
        """What went wrong warming each lane up, if anything did."""
        self.broken: list[Lane] = []
        self._lanes = lanes
        self.engine = Engine(deliver=self._deliver, broken=self._break, metrics=metrics, threads=1)

    def __enter__(self) -> Running:
        self.engine.start()
        for lane in self._lanes:
            self.engine.add(lane, self._warmed_up)
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.errors) == len(self._lanes), DEADLINE)
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.stop()
        assert not any(thread.name.startswith("engine") for thread in threading.enumerate())

    def _warmed_up(self, error: Exception | None) -> None:
        with self._arrived:
            self.errors.append(error)
            self._arrived.notify()

    def _break(self, lane: Lane, _: Exception) -> None:
        with self._arrived:
            self.broken.append(lane)
            self._arrived.notify()

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        with self._arrived:
            self.outcomes.extend(outcomes)
            self.deliveries += 1
            self.delivered_by.add(threading.current_thread().name)
            self._arrived.notify()

    def wait_until_broken(self) -> None:
        """Wait until a lane was found unable to step anything."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: bool(self.broken), DEADLINE)

    def wait(self, count: int) -> list[Outcome]:
        """All outcomes so far, once there are `count`."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.outcomes) >= count, DEADLINE)
            return self.outcomes
