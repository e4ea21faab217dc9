"""What the load benchmarks make of what they counted. No process is started but one tiny worker."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import soak
from benchmarks.load.goals import goals
from benchmarks.load.offline import mean_rate
from benchmarks.load.rig import Layout
from benchmarks.load.statistics import Load, merge, percentiles, shares, stage_means, summarize
from benchmarks.serving import ServingPlan
from benchmarks.worker import WorkerProcess
from tests.support.edges import ROOT
from tests.support.processes import wait_for


def load(*batches: int, seconds: float = 2.0, **settings: Any) -> Load:
    """Results of batches of these sizes, each of which took 1,000 us."""
    rows = [(1500, 200, 1000, size) for size in batches for _ in range(size)]
    return Load(seconds, np.array(rows, np.int64).reshape(-1, 4), **settings)


def test_batches_are_counted_from_what_their_results_say() -> None:
    seen = load(1, 8, 8, 3)
    assert seen.batches() == {1: 1.0, 3: 1.0, 8: 2.0}
    assert seen.mean_batch() == 5.0
    assert seen.steps_per_second == 10.0


def test_a_window_without_results_has_no_rate_and_no_percentiles() -> None:
    empty = load()
    assert (empty.steps_per_second, empty.mean_batch(), empty.batches()) == (0.0, 0.0, {})
    assert percentiles(empty.rows[:, 0]) is None


def test_generators_are_merged_and_the_busiest_one_counts() -> None:
    both = merge([load(4, cpu_seconds=(0.5,), rejections=1), load(2, 2, cpu_seconds=(1.8,))])
    assert len(both.rows) == 8
    assert both.rejections == 1
    assert both.generator_share == pytest.approx(0.9)


@given(st.integers(1, 2000), st.integers(1, 64))
def test_streams_are_shared_evenly(streams: int, generators: int) -> None:
    parts = shares(streams, generators)
    assert sum(parts) == streams
    assert 0 < min(parts) <= max(parts) <= min(parts) + 1
    assert len(parts) == min(streams, generators)


def test_the_bare_loop_is_rated_by_the_batch_sizes_that_were_seen() -> None:
    # Three batches of one sample and one of four: seven steps in 3 x 10 ms and 40 ms.
    assert mean_rate({1: 3.0, 4: 1.0}, {1: 0.010, 4: 0.040}) == pytest.approx(100.0)


def test_stages_are_means_of_what_came_in_between() -> None:
    before = {"tail": (1.0, 10.0), "decode": (0.5, 10.0)}
    after = {"tail": (1.4, 20.0), "decode": (0.5, 10.0), "queue": (0.001, 1.0)}
    assert stage_means(before, after) == {"tail": 40_000.0, "queue": 1000.0}


def test_repeated_measurements_keep_their_spread() -> None:
    assert summarize([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "all": [3.0, 1.0, 2.0]}


@pytest.mark.parametrize(("cores", "threads", "generators"), [(1, 1, 1), (2, 1, 1), (16, 15, 4), (64, 63, 8)])
def test_the_layout_leaves_a_core_free_where_it_can(cores: int, threads: int, generators: int) -> None:
    layout = Layout.choose(cores, None, 32, 1000)
    assert (layout.threads, layout.generators) == (threads, generators)
    assert layout.slots > 1000


def test_the_comparison_follows_the_streams_asked_for() -> None:
    assert ServingPlan.choose((), None, quick=False) == ServingPlan()
    assert ServingPlan.choose((64, 8), None, quick=False).streams == (8, 64)
    assert ServingPlan.choose((64, 8), None, quick=False).compared == 64
    assert ServingPlan.choose((8, 2), None, quick=False).compared == 8
    assert ServingPlan.choose((), None, quick=True).rounds == 1
    assert ServingPlan.choose((), 10, quick=False).pictures == 10


def results() -> dict[str, Any]:
    """As good as can be."""
    row = {
        "steps_per_second": {"median": 900.0},
        "offline_steps_per_second": {"median": 1000.0},
        "ratio": {"median": 0.9},
        "mean_batch": {"median": 31.0},
        "generator_cores": 0.2,
    }
    return {
        "tail": "a tail",
        "throughput": [{**row, "streams": 64}, {**row, "streams": 256}],
        "hardware_gain": {"median": 3.0},
        "alone": {"streams": 64, "gain": {"median": 3.1}},
        "one_stream": {
            "overhead_us": {"p50": 200.0},
            "echo_us": {"p50": 150.0},
            "times_echo": 1.33,
            "times_echo_after_a_pause": 1.1,
        },
        "offered": {
            "queue_in_steps": {"p99": 1.2},
            "steps_per_second": 630.0,
            "step_us": 20_000,
            "generator_cores": 0.95,
        },
        "crowd": {"streams": 1000, "open_at_once": 1000, "served": 1000, "seconds_to_open": 0.9},
        "same_answers": {
            "pictures": 360,
            "mean_batch_alone": 1.0,
            "mean_batch_together": 30.0,
            "predictions_differ": 0,
            "largest_confidence_difference": 2e-7,
            "answers_that_differ": 0.0,
        },
    }


def test_every_goal_can_be_met() -> None:
    assert [goal.met for goal in goals(results(), complete=True)] == [True] * 8


def test_the_gain_aimed_at_is_the_lower_of_four_and_the_hardwares() -> None:
    for hardware, goal in ((3.0, 3.0), (9.0, 4.0)):
        found = goals({**results(), "hardware_gain": {"median": hardware}}, complete=True)
        assert next(goal.goal for goal in found if "alone" in goal.name) == goal


def test_a_generator_that_may_be_the_limit_is_named() -> None:
    notes = {goal.name: goal.note for goal in goals(results(), complete=True)}
    warned = [name for name, note in notes.items() if "may be the limit" in note]
    assert len(warned) == 1
    assert warned[0].startswith("queue wait")


def test_what_was_not_asked_for_and_what_was_quick_is_not_measured() -> None:
    few = results()
    few["throughput"], few["alone"]["streams"] = few["throughput"][:1], 8
    found = goals(few, complete=True)
    assert [goal.met for goal in found[:3]] == [True, None, None]
    assert {goal.measured for goal in goals(results(), complete=False)} == {None}


def test_an_offered_load_of_which_nothing_was_answered_is_not_measured() -> None:
    found = results()
    found["offered"] = {"queue_in_steps": None, "step_us": None, "steps_per_second": 0.0, "generator_cores": 0.1}
    wait = next(goal for goal in goals(found, complete=True) if goal.name.startswith("queue wait"))
    assert wait.measured is None
    assert "no frame was answered" in wait.note


def look(frames: float, resident_mb: float, descriptors: float = 14.0, streams: float = 0.0) -> dict[str, float]:
    counts = {"threads": 9.0, "tasks": 5.0, "streams": streams, "slots_in_use": 0.0, "queue_length": 0.0}
    return {"frames": frames, "seconds": 0.0, "resident_mb": resident_mb, "descriptors": descriptors, **counts}


def test_drift_is_taken_after_the_warm_up() -> None:
    looks = [look(0, 100.0), look(1e5, 300.0), *(look(part * 1e5, 310.0 + part) for part in range(2, 11))]
    assert soak.drift(looks)["resident_mb"] == pytest.approx(10.0)
    missed = [goal.name for goal in soak.goals(looks, 1_000_000) if goal.met is False]
    assert missed == ["memory's drift"]


def test_what_stays_open_is_a_leak_and_a_short_run_tells_nothing_of_memory() -> None:
    looks = [look(0, 100.0), look(500, 200.0), look(1000, 400.0, descriptors=15.0, streams=1.0)]
    met = {goal.name: goal.met for goal in soak.goals(looks, 1000)}
    assert met["memory's drift"] is None
    assert met["descriptors more than after the warm-up"] is False
    assert met["streams at the end"] is False
    assert met["frames answered"] is True


class Adder:
    """Lives in another process in the test below."""

    def __init__(self) -> None:
        self.total = 0

    async def add(self, value: int) -> tuple[int, int]:
        self.total += value
        return self.total, os.getpid()

    async def fail(self) -> None:
        raise ValueError("on purpose")

    async def end(self) -> None:
        os._exit(7)


def test_a_worker_keeps_its_object_and_says_what_went_wrong() -> None:
    with WorkerProcess(Adder) as worker:
        total, pid = worker.call(Adder.add, 2)
        assert (total, pid != os.getpid()) == (2, True)
        with pytest.raises(ValueError, match="on purpose"):
            worker.call(Adder.fail)
        assert worker.call(Adder.add, 3)[0] == 5
        with pytest.raises(BrokenExecutor):
            worker.call(Adder.end)


def test_a_worker_ends_with_a_parent_that_is_killed() -> None:
    code = "from tests.unit.benchmarks.test_serving import *; print(WorkerProcess(Adder).call(Adder.add, 1)[1])"
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}; sys.stdout.flush(); os.kill(os.getpid(), 9)"], stdout=subprocess.PIPE, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
    wait_for(
        lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes(), "its end"
    )


def refuse() -> Adder:
    raise ValueError("cannot be made")


def test_a_worker_says_why_its_object_was_not_made() -> None:
    with WorkerProcess(refuse) as worker, pytest.raises(ValueError, match="cannot be made"):
        worker.call(Adder.add, 2)
