from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.links.profiles import BY_NAME
from benchmarks.testbed.lanes import LANES, Slice, measure_in_lanes, slices
from benchmarks.testbed.plan import ALTERNATIVES, PlannedRun
from benchmarks.testbed.schema import SampleRow
from shared.errors import NeucodexError

FULL = next(each for each in ALTERNATIVES if each.name == "full")
FILE = next(each for each in ALTERNATIVES if each.name == "avif-equal")
RUNS = [PlannedRun(each, BY_NAME[link], "pi", 10, 0.1) for link in ("lora", "nb-iot") for each in (FULL, FILE)]


def test_every_sample_of_every_run_is_in_one_slice_and_links_take_turns() -> None:
    made = slices(RUNS)
    for run in RUNS:
        samples = [n for each in made if each.run == run for n in range(each.first, each.first + each.n)]
        assert sorted(samples) == list(range(10))
    assert [each.run.link.name for each in made[:4]] == ["nb-iot", "lora", "nb-iot", "lora"]
    assert [each.number for each in made] == sorted(each.number for each in made)


def test_lanes_measure_at_once_and_a_slice_that_fails_costs_no_other() -> None:
    most, open_now, lock = 0, 0, threading.Lock()
    together = threading.Barrier(2, timeout=30)

    @contextlib.contextmanager
    def lane(number: int) -> Iterator[tuple[Any, Any]]:
        assert 1 <= number <= LANES
        yield number, number

    def measure(place: Any, edge: Any, part: Slice) -> list[SampleRow]:
        nonlocal most, open_now
        with lock:
            open_now += 1
            most = max(most, open_now)
        together.wait()  # passes only if two are measured at once
        with lock:
            open_now -= 1
        if part.number == 3:
            raise NeucodexError("no time for it")
        return [{"sample": part.first}]

    todo = slices(RUNS)
    assert len(todo) % 2 == 0
    found = measure_in_lanes(todo, lane, measure)
    assert most >= 2
    assert set(found.rows) == {each.key for each in todo if each.number != 3}
    assert len(found.failed) == len(RUNS)


class StoppableEdge:
    """Works until it is stopped."""

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def stop(self) -> None:
        self.stopped.set()


def test_where_a_lane_breaks_nothing_else_begins_and_what_is_under_way_is_cut_short() -> None:
    begun: list[str] = []
    edges: dict[int, StoppableEdge] = {}
    together = threading.Barrier(len(RUNS), timeout=30)

    @contextlib.contextmanager
    def lane(number: int) -> Iterator[tuple[Any, Any]]:
        edges[number] = StoppableEdge()
        yield number, edges[number]

    def measure(place: Any, edge: Any, part: Slice) -> list[SampleRow]:
        begun.append(part.key)
        together.wait()
        if part.run == RUNS[0]:
            raise OSError("the disk is full")
        assert edge.stopped.wait(30), "its slice would have gone on"
        raise NeucodexError("the edge ended")

    todo = [each for each in slices(RUNS) if each.number == 0]
    with pytest.raises(OSError, match="the disk is full"):
        measure_in_lanes(todo, lane, measure)
    assert len(begun) == len(RUNS)
