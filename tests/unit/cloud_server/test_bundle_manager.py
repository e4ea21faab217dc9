"""What is served after a reload."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from cloud_server.bundle_manager import BundleManager
from cloud_server.config import CloudConfig
from cloud_server.rpc.servicer import CoInferenceServicer
from shared.messages import Open
from shared.metric_table import CLOUD_METRICS
from shared.metrics import Metrics
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
def servicer(config: CloudConfig, metrics: Metrics) -> CoInferenceServicer:
    return CoInferenceServicer(config, metrics)


@pytest.fixture
async def manager(config: CloudConfig, servicer: CoInferenceServicer, metrics: Metrics) -> AsyncIterator[BundleManager]:
    made = BundleManager(config, servicer, metrics)
    await made.load_all()
    made.start_serving()
    yield made
    await made.close()


def slots(metrics: Metrics) -> dict[str, float]:
    """By the bundle's name."""
    return {
        sample.labels["bundle"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "neucodex_cloud_slots"
    }


async def test_a_reload_that_fails_keeps_nothing_of_what_it_loaded(manager, folder, metrics):
    before = list(manager.bundles)
    make_bundle(folder / "second", seed=1)
    tail = make_bundle(folder / "third", seed=2).path / "tail.safetensors"
    whole = tail.read_bytes()
    tail.write_bytes(whole[: len(whole) // 2])  # as while it is copied
    await manager.reload()
    assert manager.bundles == before
    assert list(manager._engine._bundles) == before
    assert sum(slots(metrics).values()) == 4

    tail.write_bytes(whole)
    await manager.reload()
    assert len(manager.bundles) == 3
    assert set(manager._engine._bundles) == set(manager.bundles)
    assert slots(metrics) == {loaded.name: 4 for loaded in manager.bundles}


async def test_a_retired_bundle_is_gone_though_an_edge_reads_nothing(manager, servicer, folder, metrics):
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((servicer.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    loaded = weakref.ref(manager.bundles[0])
    name, opened = loaded().name, edge_to_wire(Open(loaded().fingerprint)).SerializeToString()

    def is_gone() -> bool:
        gc.collect()
        return loaded() is None

    async with DeafPeer(f"127.0.0.1:{port}") as edge:
        await edge.answer(edge.call(METHOD, opened, half_close=False))
        shutil.rmtree(folder / "first")
        make_bundle(folder / "second", seed=1)
        await manager.reload()
        await asyncio.to_thread(wait_for, is_gone, "the bundle to be gone")
        assert slots(metrics)[name] == 0
    await server.stop(None)
