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
from cloud_server.engine.loaded_bundle import LoadedBundle
from cloud_server.engine.requests import Answered, Outcome, StepRequest
from cloud_server.engine.scheduler import Queued
from shared.messages import Frame
from shared.metric_table import CLOUD_METRICS
from shared.metrics import Metrics
from tests.support.known import assert_close
from tests.support.processes import DEADLINE

NAME = "b"
"""The name of the bundle in these tests' metrics."""


def bundle_metrics() -> Metrics:
    """Metrics of a cloud whose one bundle is `NAME`."""
    return Metrics(CLOUD_METRICS, {"bundle": (NAME,)})


def make_request(
    loaded: LoadedBundle, frames: NDArray[np.uint8], sample: int, timestep: int, row: int | None = None
) -> StepRequest:
    """A known frame as the edge encodes it, with all frames of the sample before it; its token is the sample."""
    past = None
    for frame in frames[: timestep - 1, sample]:
        past = loaded.codec.next_context(past, frame)
    codec, data = loaded.codec.encode(frames[timestep - 1, sample], past)
    return StepRequest(sample, sample if row is None else row, Frame(sample, timestep, codec, data))


def queued(*requests: StepRequest) -> list[Queued[StepRequest]]:
    """As the scheduler hands them out."""
    return [Queued("o", "s", request.token, request, 0.0) for request in requests]


def run_batch(runner: BatchRunner, *requests: StepRequest) -> list[Outcome]:
    """One batch through all stages."""
    batch = queued(*requests)
    Decoder().decode(runner.loaded, batch)
    return runner.outcomes(runner.step(batch, time.perf_counter()))


def assert_answer(outcome: Outcome, expected: NDArray[np.float32], size: int | None = None) -> None:
    """A known frame was answered as the reference does, in a batch of `size` if that is given."""
    assert isinstance(outcome, Answered), outcome
    frame = outcome.request.frame
    assert_close(outcome.confidences, expected, frame.sample, frame.timestep)
    assert size is None or outcome.batch_size == size


class Running:
    """An engine whose outcomes are collected; ends with the block."""

    def __init__(self, loaded_bundles: Sequence[LoadedBundle], metrics: Metrics) -> None:
        self.outcomes: list[Outcome] = []
        self.deliveries = 0
        self.delivered_by: set[str] = set()
        self._arrived = threading.Condition()
        self.errors: list[Exception | None] = []
        """What went wrong warming each bundle up, if anything did."""
        self.broken: list[LoadedBundle] = []
        self._bundles = loaded_bundles
        self.engine = Engine(deliver=self._deliver, on_broken=self._break, metrics=metrics, threads=1)

    def __enter__(self) -> Running:
        self.engine.start()
        for loaded in self._bundles:
            self.engine.add(loaded, self._warmed_up)
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.errors) == len(self._bundles), DEADLINE)
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.stop()
        assert not any(thread.name.startswith("engine") for thread in threading.enumerate())

    def _warmed_up(self, error: Exception | None) -> None:
        with self._arrived:
            self.errors.append(error)
            self._arrived.notify()

    def _break(self, loaded: LoadedBundle, _: Exception) -> None:
        with self._arrived:
            self.broken.append(loaded)
            self._arrived.notify()

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        with self._arrived:
            self.outcomes.extend(outcomes)
            self.deliveries += 1
            self.delivered_by.add(threading.current_thread().name)
            self._arrived.notify()

    def wait_until_broken(self) -> None:
        """Wait until a bundle was found unable to step anything."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: bool(self.broken), DEADLINE)

    def wait(self, count: int) -> list[Outcome]:
        """All outcomes so far, once there are `count`."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.outcomes) >= count, DEADLINE)
            return self.outcomes
