"""Slow links are measured side by side: an edge and a link for each lane, one cloud for all.

An edge on such a link waits most of the time, so that a dozen of them hardly load a machine. What is measured is one
sample's latency as before: no two share a link, and each edge has one sample in flight.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from benchmarks.testbed.environments import Environment
from benchmarks.testbed.plan import SLICES, PlannedRun
from benchmarks.testbed.processes import EdgeWorkerProcess
from benchmarks.testbed.schema import SampleRow
from shared.errors import NeucodexError

LANES = 20


@dataclass(frozen=True)
class Slice:
    """A part of a run's samples: `n` from `first` on."""

    run: PlannedRun
    number: int
    first: int
    n: int

    @property
    def key(self) -> str:
        """Its name among what is kept."""
        return f"{self.run.key}.{self.number}"


@dataclass
class Found:
    """The rows of each slice that was measured, and why others were not."""

    rows: dict[str, list[SampleRow]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


Measure = Callable[[Environment, EdgeWorkerProcess, Slice], list[SampleRow]]


def slices(runs: Sequence[PlannedRun]) -> list[Slice]:
    """The first part of every run, then the second of every run: if time is up all of them have some. Links take turns,
    so that those on which most happens are never open all at once.
    """
    made = []
    for number in range(SLICES):
        for run in runs:
            first, end = (run.n * at // SLICES for at in (number, number + 1))
            if end > first:
                made.append(Slice(run, number, first, end - first))
    turns = {link: [each for each in made if each.run.link.name == link] for link in {s.run.link.name for s in made}}
    longest = sorted(turns.values(), key=lambda each: -each[0].run.link.rtt_ms)
    return [each[at] for at in range(max(map(len, longest), default=0)) for each in longest if at < len(each)]


def measure_in_lanes(
    todo: Sequence[Slice],
    lane: Callable[[int], contextlib.AbstractContextManager[tuple[Environment, EdgeWorkerProcess]]],
    measure: Measure,
) -> Found:
    """Measure slices, as many at once as there are lanes.

    Args:
        todo: in order.
        lane: opens lane number 1 and up: a place, and an edge in it.
        measure: one slice, in a lane.
    """
    found, waiting, lock = Found(), queue.SimpleQueue[Slice](), threading.Lock()
    at_work: list[EdgeWorkerProcess] = []
    for each in todo:
        waiting.put(each)

    def work(number: int) -> None:
        with lane(number) as (place, edge):
            with lock:
                at_work.append(edge)
            for each in _until_empty(waiting):
                try:
                    rows = measure(place, edge, each)
                except NeucodexError as error:
                    with lock:
                        found.failed.append(f"{each.key}: {error}")
                    continue
                with lock:
                    found.rows[each.key] = rows

    lanes = min(LANES, len(todo))
    with ThreadPoolExecutor(max(lanes, 1)) as pool:
        working = [pool.submit(work, number) for number in range(1, lanes + 1)]
        try:
            for done in wait(working, return_when=FIRST_EXCEPTION).done:
                done.result()
        except BaseException:
            # Nothing else begins, and what is under way, which may take minutes, is cut short.
            for _ in _until_empty(waiting):
                pass
            with lock:
                for edge in at_work:
                    edge.stop()
            raise
    return found


def _until_empty(waiting: queue.SimpleQueue[Slice]) -> Iterator[Slice]:
    with contextlib.suppress(queue.Empty):
        while True:
            yield waiting.get_nowait()
