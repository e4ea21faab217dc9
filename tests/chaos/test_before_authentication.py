"""Peers that nobody has let in: what they cost is bounded, and an edge is served beside them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.bundle import Bundle
from tests.support.deaf_peer import CONTINUATION, PREFACE, SETTINGS, frame, literal, request_headers
from tests.support.known import assert_close
from tests.support.processes import CloudProcess, cloud_process
from tests.support.raw_edge import METHOD, RawEdge

TOKEN = "the-token-of-an-honest-edge"
FLOODERS = 2
LONGEST_FLOOD = 128 * 2**20
"""Bytes of one connection after which its flood counts as endless."""


@pytest.fixture
def cloud(tmp_path: Path, bundle: Bundle) -> Iterator[CloudProcess]:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    with cloud_process(tmp_path, [bundle.path], "--token-file", str(tokens)) as process:
        yield process
        assert "Traceback" not in process.log.read_text()


async def flood(address: str) -> int:
    """Headers that never end, until the connection is. Returns how many bytes were taken."""
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    headers = b"".join(literal(f"x-{number:05}", "v" * 60) for number in range(200))
    sent = 0
    try:
        writer.write(PREFACE + frame(SETTINGS, 0, 0, b"") + request_headers(1, METHOD, last=False))
        while sent < LONGEST_FLOOD:
            writer.write(frame(CONTINUATION, 0, 1, headers))
            await writer.drain()
            sent += len(headers)
    except ConnectionError:
        pass
    finally:
        writer.close()
    return sent


async def test_headers_that_never_end_end_their_connection(
    cloud: CloudProcess, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    floods = [asyncio.create_task(flood(cloud.listen)) for _ in range(FLOODERS)]
    async with RawEdge(cloud.listen, bundle, token=TOKEN) as edge:
        for timestep in range(1, 5):
            result = await edge.step(0, timestep, frames[timestep - 1, 0])
            assert_close(result.confidences, expected, 0, timestep)
        assert max(await asyncio.gather(*floods)) < LONGEST_FLOOD
        assert cloud.metric("neucodex_cloud_ended_connections_total", reason="bytes") == FLOODERS
        assert_close((await edge.step(1, 1, frames[0, 1])).confidences, expected, 1, 1)
    assert "reason='bytes'" in cloud.log.read_text()


async def test_half_requests_of_the_metrics_page_hold_a_bounded_number_of_threads(cloud: CloudProcess) -> None:
    host, _, port = cloud.metrics_address.rpartition(":")
    before = cloud.threads()
    with ExitStack() as stack:
        for _ in range(400):
            half = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
            half.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        assert cloud.metric("neucodex_cloud_streams") == 0
        assert cloud.threads() <= before + 40
