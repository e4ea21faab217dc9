from __future__ import annotations

import numpy as np
import pytest

from benchmarks.testbed.cpu_throttle import CpuThrottle, ThrottledHead
from tests.unit.benchmarks.testbed.clock import Clock


def test_what_was_computed_is_waited_off_once(clock: Clock) -> None:
    throttle = CpuThrottle(0.25)
    clock.cpu += 0.002
    throttle.wait()
    throttle.wait()
    assert clock.waited == pytest.approx([0.006, 0.0])


def test_what_was_done_before_a_sample_is_not_the_samples(clock: Clock) -> None:
    throttle = CpuThrottle(0.1)
    clock.cpu += 1.0
    throttle.begin()
    clock.cpu += 0.001
    throttle.wait()
    assert clock.waited == pytest.approx([0.009])


def test_a_whole_core_waits_for_nothing(clock: Clock) -> None:
    throttle = CpuThrottle(1.0)
    clock.cpu += 1.0
    throttle.wait()
    assert clock.waited == [0.0]


def test_a_head_waits_after_each_step_and_counts_it(clock: Clock) -> None:
    spikes = np.ones((1, 2, 2), np.uint8)

    class Head:
        def start(self, frames: object) -> Head:
            return self

        def step(self) -> np.ndarray:
            clock.cpu += 0.01
            return spikes

    head = ThrottledHead(Head(), CpuThrottle(0.5))
    run = head.start(np.zeros((1, 2, 2), np.uint8))
    assert run.step() is spikes
    assert run.step() is spikes
    assert head.steps == 2
    assert clock.waited == pytest.approx([0.01, 0.01])
