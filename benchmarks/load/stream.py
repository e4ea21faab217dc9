"""One edge's stream as a load generator has it, and the window of time in which its results count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import grpc
import grpc.aio
import numpy as np

from benchmarks.load.samples import LoadSamples
from benchmarks.load.statistics import Load
from protos import co_inference_pb2 as pb
from shared.errors import CloudUnavailable

METHOD = "/neucodex.v1.CoInference/Infer"

OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each channel: a fleet is not one machine
    ("grpc.http2.bdp_probe", 0),  # as edges have it
)


class EdgeStream:
    """One edge's connection and stream; one sample at a time."""

    def __init__(self, address: str, samples: LoadSamples) -> None:
        self._samples = samples
        self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        infer: Any = self._channel.stream_stream(METHOD, None, pb.CloudMessage.FromString)
        self._call: Any = infer(wait_for_ready=True)

    async def open(self) -> None:
        """Send Open, wait for Ready.

        Raises:
            CloudUnavailable: something else came, or the stream ended.
        """
        kind, _ = await self._ask(self._samples.open)
        if kind != "ready":
            raise CloudUnavailable(f"the cloud's first message is {kind}, not ready")

    async def step(self, raw: bytes) -> Any:
        """Send a frame and wait for its result; None if its sample was rejected.

        Raises:
            CloudUnavailable: the stream ended.
        """
        kind, message = await self._ask(raw)
        return message.result if kind == "result" else None

    async def finish(self, picture: int) -> None:
        """Send a sample's Stop, as every edge does at the verdict."""
        await self._call.write(self._samples.stops[picture])

    async def close(self) -> None:
        """Cut the stream and the connection, whatever is under way."""
        self._call.cancel()
        await self._call.code()  # the loop rests when this returns: what gRPC still has to do must be done by then
        await self._channel.close(None)

    async def _ask(self, raw: bytes) -> tuple[str | None, Any]:
        await self._call.write(raw)
        message = await self._call.read()
        if not isinstance(message, pb.CloudMessage):
            raise CloudUnavailable(f"a stream ended: {await self._call.code()} {await self._call.details()}")
        return message.WhichOneof("kind"), message


class MeasuredSpan:
    """Counts what comes between `start` and `start + seconds` (monotonic), and this process's CPU time in between."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: float, seconds: float) -> None:
        self._start, self._end = start, start + seconds
        self._seconds = seconds
        self._rows: list[tuple[int, int, int, int]] = []
        self._rejections = 0
        self._cpu: list[float] = []
        # The loop's clock is the monotonic one.
        self._timers = [loop.call_at(moment, self._note_cpu) for moment in (self._start, self._end)]

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end

    async def step(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await a step and count its result."""
        began = time.monotonic()
        result = await work
        now = time.monotonic()
        if self._start <= now < self._end:
            if result is None:
                self._rejections += 1
            else:
                taken = round((now - began) * 1e6)
                self._rows.append((taken, result.queue_us, result.compute_us, result.batch_size))
        return result

    def load(self) -> Load:
        """What was counted; call it when all streams are done."""
        for timer in self._timers:
            timer.cancel()
        if len(self._cpu) == 1:
            self._note_cpu()  # the loop stopped before its timer
        rows = np.array(self._rows, np.int64).reshape(-1, 4)
        cpu = (self._cpu[-1] - self._cpu[0],) if len(self._cpu) == 2 else ()
        return Load(self._seconds, rows, self._rejections, cpu)

    def _note_cpu(self) -> None:
        self._cpu.append(time.process_time())
