"""Peers that take no data: they cost what the limits allow, and do not hold up the end."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from shared.bundle import Bundle
from shared.messages import Open
from shared.wire import edge_to_wire
from tests.support.deaf_peer import DeafPeer
from tests.support.processes import cloud_process, wait_for
from tests.support.raw_edge import METHOD

HEALTH = "/grpc.health.v1.Health/"
PORTS = ("--health", "127.0.0.1:0")
MANY = 1_000


@pytest.mark.parametrize("method", ["Check", "Watch"])
async def test_who_asks_for_health_and_takes_no_answer_holds_nothing_up(
    tmp_path: Path, bundle: Bundle, method: str
) -> None:
    with cloud_process(tmp_path, [bundle.path], *PORTS) as cloud:
        assert cloud.probed is not None
        async with DeafPeer(cloud.listen) as edge, DeafPeer(cloud.probed) as probe:
            await edge.answer(edge.call(HEALTH + method, b""))
            probe.call(HEALTH + method, b"")
            assert await cloud.health() == "SERVING"
            cloud.signal(signal.SIGTERM)
            await asyncio.to_thread(wait_for, lambda: cloud.process.poll() is not None, "the cloud to end")
        assert cloud.wait() == 0


async def test_a_drain_does_not_wait_until_what_is_over_is_read(tmp_path: Path, bundle: Bundle) -> None:
    with cloud_process(tmp_path, [bundle.path], "--drain-timeout", "600") as cloud:
        async with DeafPeer(cloud.listen) as edge:
            opened = edge_to_wire(Open(bundle.fingerprint, bundle.execution)).SerializeToString()
            await edge.answer(edge.call(METHOD, opened, half_close=False))
            cloud.signal(signal.SIGTERM)
            await asyncio.to_thread(wait_for, lambda: cloud.process.poll() is not None, "the cloud to end")
        assert cloud.wait() == 0
        assert "Traceback" not in cloud.log.read_text()


async def test_answers_that_are_not_read_do_not_pile_up(tmp_path: Path, bundle: Bundle) -> None:
    with cloud_process(tmp_path, [bundle.path], *PORTS, "--max-streams", "8") as cloud:
        assert cloud.probed is not None
        await asyncio.to_thread(cloud.next_count)
        before = cloud.metric("neucodex_cloud_tasks")
        async with DeafPeer(cloud.listen) as edge, DeafPeer(cloud.probed) as probe:
            for peer in (edge, probe):
                calls = [peer.call(HEALTH + "Check", b"") for _ in range(MANY)]
                await peer.answer(calls[-1])
            await asyncio.to_thread(cloud.next_count)
            assert cloud.metric("neucodex_cloud_tasks") < before + MANY / 4
            assert await cloud.health() == "SERVING"
