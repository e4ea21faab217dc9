"""Bundles that come and go while the cloud runs: SIGHUP to a real process with streams open."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from shared.bundle import Bundle
from shared.messages import Open
from tests.support.bundles import make_bundle
from tests.support.graphs import with_tail_step
from tests.support.known import assert_close, known_confidences, known_frames
from tests.support.processes import CloudProcess, cloud_process, until
from tests.support.raw_edge import RawEdge


@pytest.fixture
def folder(tmp_path: Path, bundle: Bundle) -> Path:
    """A folder of bundles with one in it."""
    shutil.copytree(bundle.path, tmp_path / "bundles" / "first")
    return tmp_path / "bundles"


@pytest.fixture
def cloud(tmp_path: Path, folder: Path) -> Iterator[CloudProcess]:
    with cloud_process(tmp_path / "cloud", [], "--bundles-dir", str(folder)) as process:
        yield process


async def hang_up(cloud: CloudProcess) -> None:
    """Send SIGHUP, and wait until the log has the result."""
    said = cloud.log.read_text().count("reloaded")
    cloud.signal(signal.SIGHUP)
    await until(lambda: cloud.log.read_text().count("reloaded") > said, "the bundles to be reloaded")


async def refusal(cloud: CloudProcess, bundle: Bundle) -> str:
    edge = RawEdge(cloud.listen, bundle)
    await edge.send(Open(bundle.fingerprint, bundle.execution))
    assert await edge.end() is grpc.StatusCode.FAILED_PRECONDITION
    details: str = await edge.call.details()
    await edge.close()
    return details


async def test_a_bundle_comes_and_another_goes_while_streams_are_open(cloud, folder, bundle, frames, expected):
    other = with_tail_step(make_bundle(folder.parent / "aside", classes=3, seed=5))
    assert "no bundle with fingerprint" in await refusal(cloud, other)
    busy = await RawEdge(cloud.listen, bundle).__aenter__()
    idle = await RawEdge(cloud.listen, bundle).__aenter__()
    assert_close((await busy.step(0, 1, frames[0, 0])).confidences, expected, 0, 1)

    shutil.copytree(other.path, folder / "second")
    await hang_up(cloud)
    other_frames, other_expected = known_frames(other), known_confidences(other)
    async with RawEdge(cloud.listen, other) as edge:
        assert_close((await edge.step(0, 1, other_frames[0, 0])).confidences, other_expected, 0, 1)
        assert_close((await busy.step(0, 2, frames[1, 0])).confidences, expected, 0, 2)

        shutil.rmtree(folder / "first")
        await hang_up(cloud)
        assert await idle.end() is grpc.StatusCode.FAILED_PRECONDITION
        assert "no longer served" in await idle.call.details()
        assert other.manifest.name in await refusal(cloud, bundle)
        await busy.send_frame(7, 1, frames[0, 0])  # a new sample: not answered
        for timestep in (3, 4):
            assert_close((await busy.step(0, timestep, frames[timestep - 1, 0])).confidences, expected, 0, timestep)
        assert await busy.end() is grpc.StatusCode.FAILED_PRECONDITION
        assert_close((await edge.step(0, 2, other_frames[1, 0])).confidences, other_expected, 0, 2)
    name = bundle.manifest.name
    await until(lambda: cloud.metric("neucodex_cloud_slots", bundle=name) == 0, "the retired bundle's slots to be gone")
    assert await cloud.health() == "SERVING"
    assert "Traceback" not in cloud.log.read_text()
    for gone in (busy, idle):
        await gone.close()


async def test_a_bundle_and_its_successor_of_the_same_name_have_different_names(
    cloud, folder, bundle, frames, expected
):
    async with RawEdge(cloud.listen, bundle) as edge:
        await edge.step(0, 1, frames[0, 0])
        successor = with_tail_step(make_bundle(folder / "first", threshold=0.5))
        assert successor.manifest.name == bundle.manifest.name
        await hang_up(cloud)
        async with RawEdge(cloud.listen, successor) as newer:
            assert_close((await newer.step(0, 1, frames[0, 1])).confidences, expected, 1, 1)
            assert cloud.metric("neucodex_cloud_slots_in_use", bundle=bundle.manifest.name) == 1
            suffixed = f"{successor.manifest.name}-{successor.fingerprint.hex()[:8]}"
            assert cloud.metric("neucodex_cloud_slots_in_use", bundle=suffixed) == 1
        for timestep in (2, 3, 4):
            assert_close((await edge.step(0, timestep, frames[timestep - 1, 0])).confidences, expected, 0, timestep)
        assert await edge.end() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_folder_that_cannot_be_read_changes_nothing(cloud, folder, bundle, frames, expected):
    shutil.copytree(bundle.path, folder / "damaged")
    (folder / "damaged" / "manifest.json").write_text("{")
    await hang_up(cloud)
    assert "damaged" in cloud.log.read_text()
    (folder / "damaged" / "manifest.json").unlink()
    shutil.rmtree(folder / "first")
    await hang_up(cloud)
    assert "has no subfolder" in cloud.log.read_text()
    async with RawEdge(cloud.listen, bundle) as edge:
        assert_close((await edge.step(0, 1, frames[0, 0])).confidences, expected, 0, 1)
    assert "Traceback" not in cloud.log.read_text()
