"""What is served after bundles were looked for again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud_server.config import CloudConfig
from cloud_server.served import Served
from cloud_server.service import CoInference
from shared.metrics import CLOUD_METRICS, Metrics
from tests.support.bundles import make_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of bundles with one in it."""
    make_bundle(tmp_path / "first")
    return tmp_path


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CLOUD_METRICS)


@pytest.fixture
async def served(folder: Path, metrics: Metrics) -> AsyncIterator[Served]:
    config = CloudConfig(bundles_dir=folder, slots=4, max_batch=2, threads=1)
    serving = Served(config, CoInference(config, metrics), metrics)
    await serving.begin()
    serving.offer()
    yield serving
    await serving.end()


def slots(metrics: Metrics) -> dict[str, float]:
    """By the bundle's name."""
    return {
        sample.labels["bundle"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "neucodex_cloud_slots"
    }


async def test_a_reload_that_fails_keeps_nothing_of_what_it_loaded(served, folder, metrics):
    before = list(served.lanes)
    make_bundle(folder / "second", seed=1)
    tail = make_bundle(folder / "third", seed=2).path / "tail.safetensors"
    whole = tail.read_bytes()
    tail.write_bytes(whole[: len(whole) // 2])  # as while it is copied
    await served.reload()
    assert served.lanes == before
    assert served._engine._lanes == before
    assert sum(slots(metrics).values()) == 4

    tail.write_bytes(whole)
    await served.reload()
    assert len(served.lanes) == 3
    assert set(served._engine._lanes) == set(served.lanes)
    assert slots(metrics) == {lane.name: 4 for lane in served.lanes}
