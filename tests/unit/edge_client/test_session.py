"""A run over a source: what is read when, what is told when, and what is left when it ends."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Callable, Iterator

import pytest

from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.inputs.base import Item, Source, Unreadable
from edge_client.output.energy import EnergyAccount
from edge_client.output.report import JsonReport, StatusLine
from edge_client.session import Session
from shared.energy import Meter
from shared.errors import CloudUnavailable, SampleRejected, SourceError
from shared.metric_table import EDGE_METRICS
from shared.metrics import Metrics
from tests.support.processes import wait_for
from tests.unit.edge_client.fakes import sample
from tests.unit.edge_client.manifests import bundle_without_files, manifest


class Items(Source):
    """Gives items as they are released, and counts those that were asked for."""

    def __init__(self, items: list[Item | Exception], released: int | None = None) -> None:
        self.items = items
        self.asked = 0
        self.closed = threading.Event()
        self.gates = [threading.Event() for _ in items]
        self.release(len(items) if released is None else released)

    def release(self, count: int) -> None:
        for gate in self.gates[:count]:
            gate.set()

    def __iter__(self) -> Iterator[Item]:
        for item, gate in zip(self.items, self.gates, strict=True):
            self.asked += 1
            while not gate.wait(0.01):
                if self.closed.is_set():
                    return
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        self.closed.set()


class Network:
    """Answers when it is told to, or at once."""

    def __init__(self, held: tuple[int, ...] = (), failing: tuple[int, ...] = ()) -> None:
        self.answers = {number: asyncio.Event() for number in held}
        self.failing = failing
        self.begun: list[int] = []
        self.answered: list[int] = []
        self.most = 0
        self._under_way = 0

    async def classify(self, sample: Sample) -> Verdict:
        self.begun.append(sample.id)
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        try:
            if sample.id in self.answers:
                await self.answers[sample.id].wait()
            if sample.id in self.failing:
                raise SampleRejected("no")
        finally:
            self._under_way -= 1
        self.answered.append(sample.id)
        return Verdict(sample.id, 0, 0.9, 1, 8, 0.001, "cloud", ())


class Run:
    def __init__(self, energy: EnergyAccount | None = None) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.metrics = Metrics(EDGE_METRICS, {"class": ("a", "b")}, fixed={"bundle": "tiny"})
        self.session = Session(
            JsonReport(self.out, ("a", "b")),
            StatusLine(self.err, None, None),
            self.metrics,
            classes=("a", "b"),
            picture_sizes=False,
            energy=energy,
        )

    def told(self) -> list[str]:
        return [json.loads(line)["sample"] for line in self.out.getvalue().splitlines()]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the run writes and its source is asked for; a thread looks, so the loop runs on."""
    await asyncio.to_thread(wait_for, condition, "the run")


async def test_a_verdict_is_told_before_the_next_sample_comes() -> None:
    run, source = Run(), Items([sample(0), sample(1)], released=1)
    going = asyncio.create_task(run.session.classify_all(source, Network()))  # type: ignore[arg-type]
    await until(lambda: run.told() == ["sample0"])
    assert not going.done()
    source.release(2)
    await going
    assert run.told() == ["sample0", "sample1"]


@pytest.mark.parametrize("in_flight", [1, 3])
async def test_one_more_is_read_than_may_be_under_way_and_they_are_told_in_order(in_flight: int) -> None:
    run, source, network = Run(), Items([sample(n) for n in range(8)]), Network(held=tuple(range(in_flight)))
    going = asyncio.create_task(run.session.classify_all(source, network, in_flight))  # type: ignore[arg-type]
    await until(lambda: source.asked == in_flight + 1 and len(network.begun) == in_flight)
    assert run.told() == []
    for answer in network.answers.values():
        answer.set()
    await going
    assert run.told() == [f"sample{n}" for n in range(8)]
    assert network.most == in_flight


async def test_what_fails_and_what_cannot_be_read_have_their_place() -> None:
    run = Run()
    items: list[Item | Exception] = [sample(0), Unreadable("x.png", "torn"), sample(2), sample(3)]
    await run.session.classify_all(Items(items), Network(failing=(2,)), 4)  # type: ignore[arg-type]
    assert run.told() == ["sample0", "sample2", "sample3"]
    assert run.err.getvalue() == "skipped: x.png: torn\nfailed: no\n"
    assert (len(run.session.done), run.session.failed, run.session.unreadable) == (2, 1, 1)
    counted = run.metrics.registry.get_sample_value
    assert counted("neucodex_edge_predictions_total", {"class": "a", "bundle": "tiny"}) == 2
    assert counted("neucodex_edge_samples_total", {"outcome": "failed", "bundle": "tiny"}) == 1


async def test_what_was_spent_before_the_first_sample_was_asked_for_is_no_samples() -> None:
    class Rising:
        kind: Meter = "rapl"
        looks = 0

        def joules(self) -> float:
            self.looks += 1
            return 1000.0 + self.looks

    bundle, meter = bundle_without_files(manifest()), Rising()
    run = Run(EnergyAccount(bundle, bundle.settings.exit_policy, "none", asks_first=False, meter=meter))
    assert meter.looks == 0
    await run.session.classify_all(Items([sample(0), sample(1)]), Network())  # type: ignore[arg-type]
    assert [json.loads(line)["measured_j"] for line in run.out.getvalue().splitlines()] == [1.0, 1.0]


async def test_the_oldest_verdicts_are_forgotten_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_client.session.KEPT", 3)
    run = Run()
    await run.session.classify_all(Items([sample(n) for n in range(5)]), Network())  # type: ignore[arg-type]
    assert [classified.verdict.sample for classified in run.session.done] == [2, 3, 4]
    assert run.session.forgotten == 2


async def test_verdicts_that_are_there_are_told_when_the_run_is_cut_off() -> None:
    run, source, network = Run(), Items([sample(n) for n in range(6)]), Network(held=(1, 2, 3))
    going = asyncio.create_task(run.session.classify_all(source, network, 4))  # type: ignore[arg-type]
    await until(lambda: run.told() == ["sample0"] and network.begun == [0, 1, 2, 3, 4])
    network.answers[2].set()
    await until(lambda: 2 in network.answered)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert run.told() == ["sample0", "sample2", "sample4"]
    assert source.closed.is_set()


@pytest.mark.parametrize("error", [SourceError("the disk is gone"), CloudUnavailable("nobody")])
async def test_a_source_that_cannot_go_on_ends_the_run_after_what_was_done(error: Exception) -> None:
    run = Run()
    with pytest.raises(type(error)):
        await run.session.classify_all(Items([sample(0), error]), Network())  # type: ignore[arg-type]
    assert run.told() == ["sample0"]
