"""Many edges, Envoy, and clouds that are killed, drained and added: no sample is lost, and load spreads again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from edge_client.build import open_edge
from edge_client.config import EdgeConfig
from edge_client.inference.co_inference import CoInference
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.input_config import InputConfig
from edge_client.inputs.factory import open_source
from shared.bundle import Bundle
from shared.command_line import parse_address
from shared.messages import RejectionCode
from tests.support.bundles import make_bundle
from tests.support.edges import rename_classes
from tests.support.envoy import CONFIG, PROGRAM, Envoy, envoy
from tests.support.graphs import with_tail_step
from tests.support.processes import CloudProcess, cloud_process, until

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="no Envoy here: it comes with `make setup` on Linux")

EDGES = 32
SAMPLES = 12
PAUSE_S = 0.3
"""Between two samples of an edge: all this shares a core or two."""

SPREAD_S = 10.0
"""What is promised: so long after a cloud was lost or added, load is spread."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return with_tail_step(
        rename_classes(make_bundle(tmp_path_factory.mktemp("bundle"), threshold=0.5), tuple("0123456789"))
    )


@pytest.fixture(scope="module")
def samples(bundle: Bundle) -> list[Sample]:
    found = open_source(InputConfig(dataset="digits", limit=SAMPLES), bundle.manifest)
    return [item for item in found if isinstance(item, Sample)]


class Fleet:
    """Edges that classify the same samples again and again until told to stop; each keeps all its verdicts."""

    def __init__(self, bundle: Bundle, cloud: str, samples: Sequence[Sample], size: int, pause_s: float) -> None:
        self.verdicts: list[list[Verdict]] = [[] for _ in range(size)]
        self.asked = 0
        self.rejections: list[RejectionCode] = []
        self.streams = 0
        self._config = EdgeConfig(
            bundle.path, (parse_address(cloud),), connect_deadline_s=20, sample_deadline_s=60, on_loss="wait"
        )
        self._bundle = bundle
        self._samples = samples
        self._pause_s = pause_s
        self._stopped = asyncio.Event()

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """All of them; at the end each finishes the sample that it has. A sample that fails raises."""
        async with contextlib.AsyncExitStack() as pairs, asyncio.TaskGroup() as group:
            for verdicts in self.verdicts:
                # One after the other: Envoy counts a stream when its connection stands, so a crowd at an Envoy that has
                # none yet is spread by chance.
                network = await pairs.enter_async_context(open_edge(self._config, self._bundle, self))
                group.create_task(self._edge(network, verdicts))
            try:
                yield
            finally:
                self._stopped.set()

    async def more(self, count: int) -> None:
        """Wait until every edge has `count` more verdicts."""
        before = list(map(len, self.verdicts))
        await until(
            lambda: all(len(now) >= had + count for now, had in zip(self.verdicts, before, strict=True)),
            f"{count} more verdicts of every edge",
        )

    async def _edge(self, network: CoInference, verdicts: list[Verdict]) -> None:
        while not self._stopped.is_set():
            self.asked += 1
            verdicts.append(await network.classify(self._samples[len(verdicts) % len(self._samples)]))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), self._pause_s)

    def rejected(self, code: RejectionCode) -> None:
        self.rejections.append(code)

    def local_exit_used(self, reason: str) -> None:
        raise AssertionError(reason)

    def link_changed(self, connected: bool) -> None:
        self.streams += connected


def streams(*clouds: CloudProcess) -> list[int]:
    return [round(cloud.metric("neucodex_cloud_streams")) for cloud in clouds]


def spread(*clouds: CloudProcess) -> bool:
    """All edges are there, and no cloud has much less than its share."""
    counts = streams(*clouds)
    return sum(counts) == EDGES and min(counts) >= EDGES // len(clouds) * 3 // 4


def test_envoy_accepts_its_configuration() -> None:
    done = subprocess.run([PROGRAM, "--mode", "validate", "-c", CONFIG], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def test_a_killed_a_drained_and_an_added_cloud_cost_no_sample(
    bundle: Bundle, samples: list[Sample], tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        first, second, third, added = (
            stack.enter_context(cloud_process(tmp_path / name, [bundle.path]))
            for name in ("first", "second", "third", "added")
        )
        undisturbed = await alone(bundle, samples, first)
        balancer: Envoy = stack.enter_context(
            envoy(tmp_path / "envoy", [cloud.listen for cloud in (first, second, third)])
        )
        fleet = Fleet(bundle, balancer.listen, samples, EDGES, PAUSE_S)
        async with fleet.at_work():
            await until(lambda: spread(first, second, third), "the edges to be spread over three clouds")
            await fleet.more(1)

            first.signal(signal.SIGKILL)
            await until(lambda: spread(second, third), "the killed cloud's edges to be spread", SPREAD_S)
            await fleet.more(1)

            balancer.direct([cloud.listen for cloud in (first, second, third, added)])
            await until(lambda: added.listen in balancer.healthy(), "the added cloud to be known")
            second.signal(signal.SIGTERM)
            await until(lambda: spread(third, added), "the drained cloud's edges to be on the added one", SPREAD_S)
            assert await asyncio.to_thread(second.wait) == 0
            await fleet.more(2)
        assert_as_undisturbed(fleet, undisturbed)
        assert added.metric("neucodex_cloud_frames_total") > 0
        assert first.listen not in balancer.healthy()


async def test_a_stream_that_envoy_ends_costs_no_sample(bundle: Bundle, samples: list[Sample], tmp_path: Path) -> None:
    """So that a cloud that was added gets its share of edges that were there before."""
    with (
        cloud_process(tmp_path / "cloud", [bundle.path]) as cloud,
        envoy(tmp_path / "envoy", [cloud.listen], stream_seconds=0.5) as balancer,
    ):
        undisturbed = await alone(bundle, samples, cloud)
        fleet = Fleet(bundle, balancer.listen, samples, 4, 0.0)
        async with fleet.at_work():
            await until(lambda: fleet.streams >= 3 * 4, "streams to end and to be opened again")
        assert_as_undisturbed(fleet, undisturbed)


async def alone(bundle: Bundle, samples: Sequence[Sample], cloud: CloudProcess) -> list[Verdict]:
    """The verdicts of one edge without anything between."""
    fleet = Fleet(bundle, cloud.listen, samples, 1, 0.0)
    async with fleet.at_work():
        await fleet.more(len(samples))
    return fleet.verdicts[0][: len(samples)]


def assert_as_undisturbed(fleet: Fleet, undisturbed: Sequence[Verdict]) -> None:
    """Every sample that was asked has its one verdict, the cloud's, and it is what it would have been."""
    assert sum(map(len, fleet.verdicts)) == fleet.asked
    assert len({(verdict.prediction, verdict.timesteps) for verdict in undisturbed}) > 3, "all alike: proves little"
    for verdicts in fleet.verdicts:
        for number, verdict in enumerate(verdicts):
            expected = undisturbed[number % len(undisturbed)]
            assert verdict.answered_by == "cloud"
            assert (verdict.prediction, verdict.timesteps) == (expected.prediction, expected.timesteps)
            assert verdict.confidence == pytest.approx(expected.confidence, abs=1e-4)
