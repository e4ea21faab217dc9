"""What is served after bundles were looked for again."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from cloud_server.bundle_manager import Served
from cloud_server.config import CloudConfig
from cloud_server.rpc.servicer import CoInference
from shared.messages import Open
from shared.metrics import CLOUD_METRICS, Metrics
from shared.wire import edge_to_wire
from tests.support.bundles import make_bundle
from tests.support.deaf_peer import DeafPeer
from tests.support.processes import wait_for
from tests.support.raw_edge import METHOD


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of bundles with one in it."""
    make_bundle(tmp_path / "first")
    return tmp_path


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CLOUD_METRICS)


@pytest.fixture
def config(folder: Path) -> CloudConfig:
    return CloudConfig(bundles_dir=folder, slots=4, max_batch=2, threads=1)


@pytest.fixture
def service(config: CloudConfig, metrics: Metrics) -> CoInference:
    return CoInference(config, metrics)


@pytest.fixture
async def served(config: CloudConfig, service: CoInference, metrics: Metrics) -> AsyncIterator[Served]:
    serving = Served(config, service, metrics)
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


async def test_a_retired_bundle_is_gone_though_an_edge_reads_nothing(served, service, folder, metrics):
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    lane = weakref.ref(served.lanes[0])
    name, opened = lane().name, edge_to_wire(Open(lane().fingerprint)).SerializeToString()

    def is_gone() -> bool:
        gc.collect()
        return lane() is None

    async with DeafPeer(f"127.0.0.1:{port}") as edge:
        await edge.answer(edge.call(METHOD, opened, half_close=False))
        shutil.rmtree(folder / "first")
        make_bundle(folder / "second", seed=1)
        await served.reload()
        await asyncio.to_thread(wait_for, is_gone, "the bundle to be gone")
        assert slots(metrics)[name] == 0
    await server.stop(None)
