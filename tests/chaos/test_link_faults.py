"""A link that is cut, clouds that are killed and that drain: each sample has one verdict, that it would have had."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path

import pytest

from benchmarks.edge.cuts import Trouble, compare, run
from benchmarks.links.proxy import CUTS, CutKind, DelayProxy
from edge_client.build import open_edge
from edge_client.config import EdgeConfig
from edge_client.inference.link_loss import OnLoss
from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs.factory import open_source
from shared.bundle import Bundle
from shared.execution import EXECUTIONS, Execution
from shared.messages import RejectionCode
from tests.support.bundles import make_bundle
from tests.support.edges import Line, edge_here, rename_classes, with_default_execution
from tests.support.processes import CloudProcess, cloud_process, wait_for

SHIPPED = Bundle.open(Path(__file__).resolve().parents[2] / "models" / "resnet18-digits")
"""Has a local exit."""

SAMPLES = 60
DIGITS = InputConfig(dataset="digits", limit=SAMPLES)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    # Random weights are rarely sure: this threshold lets some samples go early and some not.
    return rename_classes(make_bundle(tmp_path_factory.mktemp("bundle"), threshold=0.5), tuple("0123456789"))


@pytest.fixture(scope="module")
def cloud(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory):
    paths = [bundle.path, SHIPPED.path]
    with cloud_process(tmp_path_factory.mktemp("cloud"), paths, "--execution", "all", "--batch-invariant") as running:
        yield running


@pytest.fixture(scope="module")
def whole(bundle: Bundle, cloud: CloudProcess) -> list[Line]:
    return asyncio.run(edge_here(bundle, cloud.listen, DIGITS)).lines


def assert_undisturbed(whole: list[Line], disturbed: list[Line]) -> None:
    assert compare(whole, disturbed) == {"verdicts": SAMPLES, "twice": 0, "by the cloud": SAMPLES, "differ": 0}
    assert [line["sample"] for line in disturbed] == [line["sample"] for line in whole]


@pytest.mark.parametrize("execution", EXECUTIONS)
async def test_cuts_of_every_kind_and_a_killed_cloud_cost_no_sample(
    bundle: Bundle, cloud: CloudProcess, execution: Execution, tmp_path: Path
) -> None:
    whole = (await edge_here(bundle.run_as(execution), cloud.listen, DIGITS)).lines
    troubles = [
        Trouble(5, "closed", 0.2),
        Trouble(15, "stalled", 0.2),
        Trouble(25, "dropped", 0.2),
        Trouble(40, None),
        Trouble(50, "closed", 0.1),
    ]
    flags = ["--dataset", "digits", "--limit", str(SAMPLES), "--lookahead", "2"]
    flags += ["--execution", execution]
    alone = with_default_execution(bundle, execution, tmp_path / "bundle")
    disturbed, summary = await asyncio.to_thread(run, alone, flags, troubles, tmp_path / "run")
    assert_undisturbed(whole, disturbed)
    assert summary["reconnects"] >= 4, "all but the stalled link, which only waits"
    assert "Traceback" not in (tmp_path / "run" / "edge.log").read_text()


@pytest.mark.parametrize("execution", EXECUTIONS)
async def test_a_cloud_that_drains_is_left_for_the_next_one(
    bundle: Bundle, cloud: CloudProcess, execution: Execution, tmp_path: Path
) -> None:
    """The first cloud gets SIGTERM in the middle of the run; its open samples end there, the others go on here."""
    bundle = bundle.run_as(execution)
    whole = (await edge_here(bundle, cloud.listen, DIGITS)).lines
    with cloud_process(tmp_path, [bundle.path], "--execution", execution, "--batch-invariant") as first:
        proxy = DelayProxy(first.listen, delay_s=0.005)  # slow enough to be caught in the middle
        there = await proxy.start()
        running = asyncio.create_task(
            edge_here(bundle, (there, cloud.listen), DIGITS, in_flight=4, lookahead=4, on_loss="fail")
        )
        try:
            await asyncio.to_thread(
                wait_for, lambda: first.metric("neucodex_cloud_frames_total") >= 20, "the run to be on its way"
            )
            first.signal(signal.SIGTERM)
            done = await running
            assert done.code == 0, done.err
            assert await asyncio.to_thread(first.wait) == 0
        finally:
            await proxy.close()
    assert_undisturbed(whole, done.lines)
    assert done.summary["reconnects"] == 1
    assert "draining" in first.log.read_text()


@pytest.mark.parametrize("on_loss", ["wait", "fallback"])
async def test_a_frozen_cloud_is_left_for_the_next_one(
    cloud: CloudProcess, on_loss: OnLoss | None, tmp_path: Path
) -> None:
    """Its connection stays: the kernel of a process that is stopped acknowledges all, and answers nothing."""
    whole = (await edge_here(SHIPPED, cloud.listen, DIGITS)).lines
    with cloud_process(tmp_path, [SHIPPED.path], "--execution", SHIPPED.execution) as first:
        proxy = DelayProxy(first.listen, delay_s=0.005)  # slow enough to be caught in the middle
        there = (await proxy.start(), cloud.listen)
        running = asyncio.create_task(
            edge_here(SHIPPED, there, DIGITS, on_loss=on_loss, sample_deadline_s=5.0, fallback_after_s=4.0)
        )
        await asyncio.to_thread(
            wait_for, lambda: first.metric("neucodex_cloud_frames_total") >= 20, "the run to be on its way"
        )
        first.signal(signal.SIGSTOP)
        done = await running
        await proxy.close()
    assert done.code == 0, done.err
    assert_undisturbed(whole, done.lines)
    assert done.summary["reconnects"] == 1
    stalls = [line["latency_ms"] for line in done.lines if line["latency_ms"] > 1_000]
    assert len(stalls) == 1
    assert stalls[0] < 3_000


async def test_a_frozen_cloud_is_left_although_no_sample_waits_for_it_so_long(
    cloud: CloudProcess, tmp_path: Path
) -> None:
    """The local exit answers each sample after 0.1 s. All that time together is the cloud's silence."""
    with cloud_process(tmp_path, [SHIPPED.path], "--execution", SHIPPED.execution) as first:
        proxy = DelayProxy(first.listen, delay_s=0.01)
        there = (await proxy.start(), cloud.listen)
        digits = InputConfig(dataset="digits", limit=150)
        running = asyncio.create_task(edge_here(SHIPPED, there, digits, on_loss="fallback", fallback_after_s=0.1))
        await asyncio.to_thread(
            wait_for, lambda: first.metric("neucodex_cloud_frames_total") >= 20, "the run to be on its way"
        )
        first.signal(signal.SIGSTOP)
        done = await running
        await proxy.close()
    assert done.summary["reconnects"] == 1
    by = [line["answered_by"] for line in done.lines]
    assert 1 <= by.count("edge") <= 40
    assert set(by[-20:]) == {"cloud"}


async def test_a_cloud_that_retires_the_bundle_is_left_for_the_next_one(
    bundle: Bundle, cloud: CloudProcess, whole: list[Line], tmp_path: Path
) -> None:
    """The first cloud answers what is open, and refuses the sample that comes then."""
    served = tmp_path / "bundles"
    for name, one in (("ours", bundle), ("another", SHIPPED)):
        shutil.copytree(one.path, served / name)
    with cloud_process(tmp_path / "cloud", [], "--bundles-dir", str(served)) as first:
        running = asyncio.create_task(edge_here(bundle, (first.listen, cloud.listen), DIGITS))
        await asyncio.to_thread(
            wait_for, lambda: first.metric("neucodex_cloud_frames_total") >= 20, "the run to be on its way"
        )
        shutil.rmtree(served / "ours")
        first.signal(signal.SIGHUP)
        done = await running
    assert done.code == 0, done.err
    assert_undisturbed(whole, done.lines)
    assert done.summary["reconnects"] == 1


async def test_a_run_that_waits_may_begin_before_its_cloud(
    bundle: Bundle, whole: list[Line], cloud: CloudProcess
) -> None:
    proxy = DelayProxy(cloud.listen)
    there = await proxy.start()
    await proxy.cut("closed")
    running = asyncio.create_task(edge_here(bundle, there, DIGITS, on_loss="wait", connect_deadline_s=0.2))
    await asyncio.to_thread(wait_for, lambda: proxy.counted["refused"] >= 2, "the edge to try")
    await proxy.mend()
    done = await running
    await proxy.close()
    assert done.code == 0
    assert_undisturbed(whole, done.lines)


class Observer:
    """Counts streams, and answers of the edge itself."""

    def __init__(self) -> None:
        self.streams = 0
        self.answered: list[str] = []

    def rejected(self, code: RejectionCode) -> None:
        raise AssertionError(code)

    def local_exit_used(self, reason: str) -> None:
        self.answered.append(reason)

    def link_changed(self, connected: bool) -> None:
        self.streams += connected


@pytest.mark.parametrize("how", CUTS)
async def test_fallback_answers_while_the_link_is_cut_and_asks_the_cloud_again_after(
    cloud: CloudProcess, how: CutKind
) -> None:
    def there(address: str) -> EdgeConfig:
        host, _, port = address.rpartition(":")
        return EdgeConfig(SHIPPED.path, ((host, int(port)),), on_loss="fallback", fallback_after_s=1.0)

    samples = [item for item in open_source(DIGITS, SHIPPED.manifest) if isinstance(item, Sample)][:20]
    async with open_edge(there(cloud.listen), SHIPPED, Observer()) as network:
        undisturbed = [await network.classify(sample) for sample in samples]
    proxy = DelayProxy(cloud.listen)
    observer = Observer()
    async with open_edge(there(await proxy.start()), SHIPPED, observer) as network:
        before = [await network.classify(sample) for sample in samples[:5]]
        await proxy.cut(how)
        cut_off = [await network.classify(sample) for sample in samples[5:8]]
        await proxy.mend()
        if how != "stalled":  # a link that only stood still was never lost
            await asyncio.to_thread(wait_for, lambda: observer.streams == 2, "the link to be lost and up again")
        after = [await network.classify(sample) for sample in samples[8:]]
    await proxy.close()
    assert [verdict.answered_by for verdict in cut_off] == ["edge"] * 3
    assert observer.answered == ["fallback"] * 3
    assert sum(one.prediction == two.prediction for one, two in zip(cut_off, undisturbed[5:8], strict=True)) >= 2
    for verdict in (*before, *after):
        expected = undisturbed[verdict.sample]
        assert (verdict.answered_by, expected.answered_by) == ("cloud", "cloud")
        assert (verdict.prediction, verdict.timesteps) == (expected.prediction, expected.timesteps)
        assert verdict.confidence == pytest.approx(expected.confidence, abs=1e-4)
