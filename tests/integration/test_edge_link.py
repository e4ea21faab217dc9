"""The loop over a real link to gRPC servers that send it away: GOAWAY, a status in the middle, again and again."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_client.inference.co_inference import CoInference
from edge_client.inference.link_loss import LinkLossPolicy
from edge_client.inference.lookahead import FixedLookahead
from edge_client.link.addresses import Target
from edge_client.link.backoff import Backoff
from edge_client.link.cloud_link import CloudLink
from edge_client.link.grpc_call import GrpcCall
from edge_client.link.grpc_transport import GrpcTransport
from edge_client.link.security import IN_CLEAR
from protos import co_inference_pb2 as pb
from protos import co_inference_pb2_grpc as pb_grpc
from shared.errors import CloudRefused
from shared.exit_policy import ExitPolicy
from shared.messages import Open
from shared.spike_codec import SpikeCodec
from tests.support.processes import DEADLINE
from tests.unit.edge_client.fakes import SHAPE, CountingHead, CountingRun, T, sample

READY = pb.CloudMessage(ready=pb.Ready(max_open_samples=4, sample_idle_timeout_ms=60_000))
SAMPLES = 12
POLICY = ExitPolicy("max_probability", 0.9)


class Forgetful(pb_grpc.CoInferenceServicer):
    """Answers frames in order; sure at T, of a class that only a sample whose frames all came in order gets.

    Each stream ends after `frames` frames with `status`, if one is given.
    """

    def __init__(self, frames: int | None, status: grpc.StatusCode | None) -> None:
        self.frames = frames
        self.status = status
        self.streams = 0

    async def Infer(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        self.streams += 1
        await context.read()
        await context.write(READY)
        values: dict[int, list[int]] = {}
        answered = 0
        while (message := await context.read()) is not grpc.aio.EOF:
            if not message.HasField("frame"):
                continue
            frame = message.frame
            before = values.setdefault(frame.sample, [])
            before.append(frame.spikes[0] if frame.spikes else 0)
            assert frame.timestep == len(before)
            right = before == list(range(before[0], before[0] + len(before)))
            confidences = (0.02, 0.98) if right and len(before) == T else (0.5, 0.5)
            result = pb.StepResult(sample=frame.sample, timestep=frame.timestep, confidences=confidences, batch_size=1)
            await context.write(pb.CloudMessage(result=result))
            answered += 1
            if answered == self.frames and self.status is not None:
                await context.abort(self.status, "go elsewhere")


class Retired(pb_grpc.CoInferenceServicer):
    """Takes a stream, and refuses its first frame."""

    def __init__(self) -> None:
        self.streams = 0

    async def Infer(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        self.streams += 1
        await context.read()
        await context.write(READY)
        await context.read()
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "go elsewhere")


@asynccontextmanager
async def served(servicer: pb_grpc.CoInferenceServicer, *options: tuple[str, int]) -> AsyncIterator[tuple[str, int]]:
    server = grpc.aio.server(options=options)
    pb_grpc.add_CoInferenceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield "127.0.0.1", port
    finally:
        await server.stop(None)


@asynccontextmanager
async def linked(*addresses: tuple[str, int], on_change: Callable[[bool], None] = bool) -> AsyncIterator[CloudLink]:
    def connect(target: Target, within_s: float) -> GrpcTransport:
        return GrpcTransport(GrpcCall(target, IN_CLEAR, Open(bytes(32)), 2, within_s))

    link = CloudLink(addresses, connect, 5.0, Backoff(0.01, 0.1, random.Random(0)), on_change=on_change)
    link.start()
    try:
        yield link
    finally:
        await link.close()


async def classify_all(
    *addresses: tuple[str, int], lookahead: int = 1, in_flight: int = 1, streams: int = 1
) -> tuple[list[Any], int]:
    """Verdicts of all samples, and how many streams it took. All samples again, until it took so many streams."""
    verdicts: list[Any] = []
    opened = 0

    def count(up: bool) -> None:
        nonlocal opened
        opened += up

    async with linked(*addresses, on_change=count) as link:
        network = CoInference(
            CountingHead(), SpikeCodec(SHAPE), link, POLICY, T,
            lookahead=FixedLookahead(lookahead), in_flight=in_flight,
        )  # fmt: skip
        gate = asyncio.Semaphore(in_flight)

        async def one(number: int) -> Any:
            async with gate:
                return await network.classify(sample(number % 15))

        try:
            async with asyncio.timeout(DEADLINE):
                while not verdicts or opened < streams:
                    verdicts += await asyncio.gather(*(one(number) for number in range(SAMPLES)))
        finally:
            network.close()
    return verdicts, opened


class Watched(CountingHead):
    """Knows what is left of the samples that it started."""

    def __init__(self) -> None:
        super().__init__()
        self._left: list[weakref.ref[Any]] = []

    def start(self, pixels: NDArray[np.uint8]) -> CountingRun:
        run = super().start(pixels)
        self._left += [weakref.ref(pixels), weakref.ref(run)]
        return run

    @property
    def held(self) -> list[Any]:
        return [left() for left in self._left if left() is not None]


class SurelyOne:
    """A local exit without doubts."""

    policy = POLICY

    def confidences(self, mean_spikes: NDArray[np.float32]) -> tuple[float, ...]:
        return (0.0, 1.0)


def assert_all_answered(verdicts: list[Any]) -> None:
    assert [(verdict.prediction, verdict.confidence, verdict.timesteps) for verdict in verdicts] == [
        (1, pytest.approx(0.98), T)
    ] * max(SAMPLES, len(verdicts))


@pytest.mark.parametrize(("lookahead", "in_flight"), [(1, 1), (4, 1), (2, 3)])
async def test_goaway_is_a_move(lookahead: int, in_flight: int) -> None:
    # The oldest that a connection may get, as proxies and servers have it to spread their load.
    options = (("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 50))
    async with served(Forgetful(None, None), *options) as address:
        # A fast machine classifies all samples before the connection is old.
        verdicts, opened = await classify_all(address, lookahead=lookahead, in_flight=in_flight, streams=3)
    assert_all_answered(verdicts)
    assert opened >= 3


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED])
async def test_a_stream_that_ends_in_the_middle_of_samples(status: grpc.StatusCode) -> None:
    servicer = Forgetful(7, status)
    async with served(servicer) as address:
        verdicts, opened = await classify_all(address, lookahead=2, in_flight=2)
    assert_all_answered(verdicts)
    assert opened == servicer.streams >= SAMPLES * T // 7


async def test_streams_go_round_all_addresses() -> None:
    first, second = Forgetful(5, grpc.StatusCode.UNAVAILABLE), Forgetful(9, grpc.StatusCode.UNAVAILABLE)
    async with served(first) as one, served(second) as other:
        verdicts, _ = await classify_all(one, ("127.0.0.1", 1), other)
    assert_all_answered(verdicts)
    assert abs(first.streams - second.streams) <= 1
    assert first.streams >= 3


async def test_a_cloud_that_refuses_in_the_middle_of_a_sample_is_left_for_the_next() -> None:
    retired, other = Retired(), Forgetful(None, None)
    async with served(retired) as one, served(other) as another, linked(one, another) as link:
        verdict = await CoInference(CountingHead(), SpikeCodec(SHAPE), link, POLICY, T).classify(sample())
    assert (verdict.prediction, verdict.timesteps, verdict.payload_bytes) == (1, T, T + 1)
    assert (retired.streams, other.streams) == (1, 1)


async def test_clouds_that_take_a_stream_and_refuse_its_sample_are_asked_once_each() -> None:
    clouds = [Retired(), Retired()]
    async with served(clouds[0]) as one, served(clouds[1]) as another, linked(one, another) as link:
        with pytest.raises(CloudRefused, match="go elsewhere"):
            await CoInference(CountingHead(), SpikeCodec(SHAPE), link, POLICY, T).classify(sample())
        assert [cloud.streams for cloud in clouds] == [1, 1]


async def test_nothing_is_left_of_a_sample_that_lost_its_stream_or_found_none() -> None:
    head, codec = Watched(), SpikeCodec(SHAPE)
    cloud = AsyncExitStack()
    async with (
        cloud,
        linked(await cloud.enter_async_context(served(Forgetful(T + 2, grpc.StatusCode.UNAVAILABLE)))) as link,
    ):
        waiting = CoInference(head, codec, link, POLICY, T)
        assert [(await waiting.classify(sample(number))).answered_by for number in range(3)] == ["cloud"] * 3
        gc.collect()
        assert not head.held
        await cloud.aclose()
        while link.down_since is None:  # noqa: ASYNC110  the link is told a moment later
            await asyncio.sleep(0)
        at_once = LinkLossPolicy("fallback", 0.0)
        falling_back = CoInference(head, codec, link, POLICY, T, link_loss=at_once, local_exit=SurelyOne())
        assert [(await falling_back.classify(sample(number))).answered_by for number in range(3)] == ["edge"] * 3
        gc.collect()
        assert not head.held
