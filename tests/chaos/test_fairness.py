"""Edges that take all that they get: another edge, known by another token, is served beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.fairness import measure
from shared.bundle import Bundle
from shared.messages import Rejection, RejectionCode, StepResult
from tests.support.known import assert_close
from tests.support.processes import CloudProcess, cloud_process, wait_for
from tests.support.raw_edge import RawEdge

GREEDY, HONEST, WRONG = "the-token-of-a-greedy-edge", "the-token-of-an-honest-edge", "a-token-that-is-not-known"
PLACES, SHARE = 36, 32
"""Slots and streams of the cloud, and how many of them one edge gets."""


@pytest.fixture
def cloud(tmp_path: Path, bundle: Bundle, request: pytest.FixtureRequest) -> Iterator[CloudProcess]:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# greedy\n{GREEDY}\n# honest\n{HONEST}\n")
    tokens.chmod(0o600)
    flags = ["--token-file", str(tokens), "--slots", str(PLACES), "--max-streams", str(PLACES), "--log-format", "json"]
    more = getattr(request, "param", ("--sample-idle-timeout", "600"))
    with cloud_process(tmp_path, [bundle.path], *flags, *more) as process:
        yield process
        assert "Traceback" not in process.log.read_text()


def lines(cloud: CloudProcess, event: str) -> list[dict[str, str]]:
    """The audit trail's lines of one event."""
    entries = [json.loads(line) for line in cloud.log.read_text().splitlines() if line.startswith("{")]
    return [entry for entry in entries if entry.get("event") == event]


@asynccontextmanager
async def greedy_streams(cloud: CloudProcess, bundle: Bundle, count: int) -> AsyncIterator[list[RawEdge]]:
    """As many open streams of one token."""
    async with AsyncExitStack() as stack:
        edges = [RawEdge(cloud.listen, bundle, token=GREEDY) for _ in range(count)]
        yield [await stack.enter_async_context(edge) for edge in edges]


async def verdict(
    cloud: CloudProcess, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    """An honest edge classifies one sample."""
    async with RawEdge(cloud.listen, bundle, token=HONEST) as edge:
        for timestep in range(1, 5):
            result = await edge.step(0, timestep, frames[timestep - 1, 0])
            assert_close(result.confidences, expected, 0, timestep)


async def test_one_edge_that_keeps_every_slot_it_gets_leaves_some(
    cloud: CloudProcess, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    answers = []
    async with greedy_streams(cloud, bundle, 2) as edges:
        for edge in edges:
            for sample in range(PLACES // 2):
                await edge.send_frame(sample, 1, frames[0, 0])
                answers.append(await edge.receive())
        refused = [answer for answer in answers if isinstance(answer, Rejection)]
        assert sum(isinstance(answer, StepResult) for answer in answers) == SHARE
        assert {answer.code for answer in refused} == {RejectionCode.NO_SLOT}
        await asyncio.gather(*(verdict(cloud, bundle, frames, expected) for _ in range(2)))
    assert cloud.metric("neucodex_cloud_limited_total", limit="slots", by="token") == PLACES - SHARE
    assert {line["identity"] for line in lines(cloud, "limited")} == {"greedy"}


async def test_one_edge_that_opens_stream_after_stream_leaves_some(
    cloud: CloudProcess, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    async with greedy_streams(cloud, bundle, SHARE):
        for _ in range(PLACES - SHARE):
            edge = RawEdge(cloud.listen, bundle, token=GREEDY)
            assert await edge.end() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "greedy" in await edge.call.details()
            await edge.close()
        await verdict(cloud, bundle, frames, expected)
    assert cloud.metric("neucodex_cloud_refused_streams_total", reason="share") == PLACES - SHARE
    assert {line["identity"] for line in lines(cloud, "limited")} == {"greedy"}
    assert {line["identity"] for line in lines(cloud, "connected")} == {"greedy", "honest"}


@pytest.mark.parametrize("cloud", [("--stream-idle-timeout", "0.5")], indirect=True)
async def test_streams_without_a_sample_end_while_streams_are_scarce(cloud: CloudProcess, bundle: Bundle) -> None:
    async with greedy_streams(cloud, bundle, SHARE) as edges:
        half = PLACES // 2
        await asyncio.to_thread(wait_for, lambda: cloud.metric("neucodex_cloud_streams") <= half, "idle streams to end")
        assert await edges[0].end() is grpc.StatusCode.UNAVAILABLE, "the one that was idle for longest"
        await asyncio.to_thread(cloud.next_count)
        await asyncio.to_thread(cloud.next_count)
        assert cloud.metric("neucodex_cloud_streams") == half, "the rest may wait as long as they like"
    assert cloud.metric("neucodex_cloud_ended_streams_total", reason="idle") == SHARE - half
    assert {line["reason"] for line in lines(cloud, "ended")} == {"idle"}


async def test_wrong_tokens_leave_lines_and_wait_while_the_right_one_is_let_in(
    cloud: CloudProcess, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    async with AsyncExitStack() as stack:
        wrong = [RawEdge(cloud.listen, bundle, token=WRONG) for _ in range(20)]
        for edge in wrong:
            stack.push_async_callback(edge.close)
        ends = asyncio.gather(*(edge.end() for edge in wrong))
        await verdict(cloud, bundle, frames, expected)
        assert set(await ends) == {grpc.StatusCode.UNAUTHENTICATED}
    assert cloud.metric("neucodex_cloud_refused_streams_total", reason="unauthenticated") == 20
    refused = lines(cloud, "refused")
    assert 1 <= len(refused) < 20
    assert {line["reason"] for line in refused} == {"unauthenticated"}
    assert all(line["peer"].startswith("ipv4:127.0.0.1:") for line in refused)
    assert WRONG not in cloud.log.read_text()


async def test_bytes_that_are_no_message_leave_a_line(cloud: CloudProcess, bundle: Bundle) -> None:
    async with RawEdge(cloud.listen, bundle, token=GREEDY) as edge:
        await edge.send_bytes(b"\xff\xff\xff")
        assert await edge.end() is grpc.StatusCode.INVALID_ARGUMENT
    (line,) = lines(cloud, "ended")
    assert (line["identity"], line["identified_by"], line["reason"]) == ("greedy", "token", "protocol")
    assert cloud.metric("neucodex_cloud_ended_streams_total", reason="protocol") == 1


def test_twenty_hostile_edges_cost_an_honest_one_no_sample() -> None:
    """The short form of `neucodex-bench fairness`: how much slower it gets is for that to say."""
    digits = Path(__file__).resolve().parents[2] / "models" / "resnet18-digits"
    found = measure(digits, "digits", None, identities=20, streams=40, rounds=1, samples=40, rate=100.0)
    assert found.targets[-1].measured == 0, found.results
    (attacked,) = found.results["attacked"]
    assert (attacked["verdicts"], attacked["failed"]) == (40, 0)
    (alone,) = found.results["idle"]
    frames = "frames of all that the cloud answered a second"
    assert attacked[frames] > alone[frames], "the others were answered meanwhile"
