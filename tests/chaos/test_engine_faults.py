"""An engine that fails while others are served, and the order to stop while all are busy."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_server.config import CloudConfig
from cloud_server.engine.engine import MAX_FAILED_BATCHES
from shared.bundle import Bundle
from shared.messages import RejectionCode
from tests.support.faulty_cloud import last_straw, poison
from tests.support.known import SAMPLES, assert_close
from tests.support.processes import CloudProcess, cloud_process, wait_for
from tests.support.raw_edge import RawEdge

FAULTY = "tests.support.faulty_cloud"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[CloudProcess]:
    with cloud_process(tmp_path_factory.mktemp("cloud"), [bundle.path], module=FAULTY) as process:
        yield process
        assert "its samples are stepped one by one" in process.log.read_text(), "no batch held the poison and others"


async def test_a_frame_that_breaks_the_engine_is_rejected_alone(witness, cloud, bundle, frames, expected):
    bad = poison(bundle.manifest.frame_shape)

    async def poisoner(edge: RawEdge) -> None:
        for sample in range(0, 40, 2):
            # One after the other without waiting, so that they meet others in a batch.
            for timestep, frame in enumerate((frames[0, 0], frames[1, 0], bad, frames[3, 0]), start=1):
                await edge.send_frame(sample, timestep, frame)
            for timestep in (1, 2):
                assert_close((await edge.result()).confidences, expected, 0, timestep)
            rejection = await edge.rejection()
            assert (rejection.sample, rejection.code) == (sample, RejectionCode.INTERNAL)
            assert "poisoned" not in rejection.reason, "what an exception says is not for strangers"

    async def neighbour(edge: RawEdge) -> None:
        for sample in range(40):
            for timestep in range(1, 5):
                result = await edge.step(sample, timestep, frames[timestep - 1, sample % SAMPLES])
                assert_close(result.confidences, expected, sample % SAMPLES, timestep)
            await edge.stop(sample)

    edges = [await RawEdge(cloud.listen, bundle).__aenter__() for _ in range(4)]
    await asyncio.gather(*(part(edge) for part, edge in zip([poisoner, neighbour] * 2, edges, strict=True)))
    for edge in edges:
        await edge.close()
    assert cloud.metric("neucodex_cloud_rejections_total", reason="internal") >= 40


async def until_it_ends(edge: RawEdge, frame: NDArray[np.uint8]) -> grpc.StatusCode:
    """One sample after the other, each rejected, until the stream ends."""
    for sample in range(MAX_FAILED_BATCHES):
        await _lenient_send(edge, sample, 1, frame)
        with contextlib.suppress(grpc.aio.AioRpcError, EOFError):
            assert (await edge.rejection()).code is RejectionCode.INTERNAL
    return await edge.end()


async def test_samples_that_break_their_own_steps_alone_end_nothing(witness, cloud, bundle, frames, expected):
    async with RawEdge(cloud.listen, bundle) as edge:
        for sample in range(3 * MAX_FAILED_BATCHES):
            await edge.send_frame(sample, 1, poison(bundle.manifest.frame_shape))
            assert (await edge.rejection()).code is RejectionCode.INTERNAL
        assert_close((await edge.step(99, 1, frames[0, 0])).confidences, expected, 0, 1)


async def test_an_engine_that_fails_for_good_ends_its_process(tmp_path: Path, bundle: Bundle) -> None:
    with cloud_process(tmp_path, [bundle.path], module=FAULTY) as cloud:
        async with RawEdge(cloud.listen, bundle) as edge, RawEdge(cloud.listen, bundle) as idle:
            assert await until_it_ends(edge, last_straw(bundle.manifest.frame_shape)) is grpc.StatusCode.UNAVAILABLE
            assert await idle.end() is grpc.StatusCode.UNAVAILABLE
            assert await asyncio.to_thread(cloud.wait) == 8
        last = cloud.log.read_text().splitlines()[-1]
        assert last.startswith(f"error: bundle {bundle.manifest.name}: no step succeeds any more (RuntimeError")


async def test_a_process_whose_engine_fails_for_good_is_replaced(tmp_path: Path, bundle: Bundle, frames, expected):
    with cloud_process(tmp_path, [bundle.path], "--processes", "2", module=FAULTY) as cloud:
        async with RawEdge(cloud.listen, bundle) as edge:
            assert await until_it_ends(edge, last_straw(bundle.manifest.frame_shape)) is grpc.StatusCode.UNAVAILABLE
        await asyncio.to_thread(
            wait_for, lambda: "ended with 8: another takes its place" in cloud.log.read_text(), "its end to be seen"
        )
        await asyncio.to_thread(
            wait_for, lambda: cloud.metric("neucodex_cloud_slots") == 2 * CloudConfig.slots, "another to take its place"
        )
        async with RawEdge(cloud.listen, bundle) as edge:
            assert_close((await edge.step(0, 1, frames[0, 0])).confidences, expected, 0, 1)
        cloud.signal(signal.SIGTERM)
        assert await asyncio.to_thread(cloud.wait) == 0


async def test_sigterm_under_load_loses_no_open_sample(tmp_path: Path, bundle: Bundle, frames, expected):
    async def fleet_member(edge: RawEdge, counts: dict[str, int]) -> grpc.StatusCode:
        sample = 0
        while True:
            await _lenient_send(edge, sample, 1, frames[0, sample % SAMPLES])
            for timestep in range(1, 5):
                try:
                    result = await edge.result()
                except (grpc.aio.AioRpcError, EOFError):
                    assert timestep == 1, "a sample that was begun is finished before the stream ends"
                    return await edge.end()
                assert_close(result.confidences, expected, sample % SAMPLES, timestep)
                if timestep < 4:
                    await edge.send_frame(sample, timestep + 1, frames[timestep, sample % SAMPLES])
            counts["samples"] += 1
            await _lenient_stop(edge, sample)
            sample += 1

    with cloud_process(tmp_path, [bundle.path], "--drain-timeout", "30") as cloud:
        edges = [await RawEdge(cloud.listen, bundle).__aenter__() for _ in range(20)]
        counts = {"samples": 0}
        members = [asyncio.create_task(fleet_member(edge, counts)) for edge in edges]
        await asyncio.to_thread(wait_for, lambda: counts["samples"] >= 40, "some load")
        cloud.signal(signal.SIGTERM)
        codes = await asyncio.gather(*members)
        for edge, code in zip(edges, codes, strict=True):
            # grpc.aio's client says the latter by itself when a write of its own finds the stream ended.
            assert code is grpc.StatusCode.UNAVAILABLE or await edge.call.details() == "Internal error from Core"
        assert await asyncio.to_thread(cloud.wait) == 0
        assert "Traceback" not in cloud.log.read_text()
        for edge in edges:
            await edge.close()


async def _lenient_send(edge: RawEdge, sample: int, timestep: int, frame: NDArray[np.uint8]) -> None:
    """The stream may have ended meanwhile: what is read next says so."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await edge.send_frame(sample, timestep, frame)


async def _lenient_stop(edge: RawEdge, sample: int) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await edge.stop(sample)
