"""One edge's stream as a load generator has it, and the window of time in which its results count."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
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


class Stream:
    """One edge's connection and stream; one sample at a time."""

    def __init__(self, address: str, samples: LoadSamples) -> None:
        self._samples = samples
        self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        infer: Any = self._channel.stream_stream(METHOD, None, pb.CloudMessage.FromString)
        self._call: Any = infer(wait_for_ready=True)
        self._left: deque[bytes] = deque()
        self._picture = 0

    async def open(self) -> None:
        """Send Open, wait for Ready.

        Raises:
            CloudUnavailable: something else came, or nothing in time.
        """
        await self._call.write(self._samples.open)
        message = await self.receive()
        if message.WhichOneof("kind") != "ready":
            raise CloudUnavailable(f"the cloud's first message is {message.WhichOneof('kind')}, not ready")

    async def send(self, raw: bytes) -> None:
        """Send a message."""
        await self._call.write(raw)

    async def receive(self) -> Any:
        """The next message.

        Raises:
            CloudUnavailable: the stream ended.
        """
        message = await self._call.read()
        if not isinstance(message, pb.CloudMessage):
            raise CloudUnavailable(f"a stream ended: {await self._call.code()} {await self._call.details()}")
        return message

    async def step(self, raw: bytes) -> Any:
        """Send a frame and wait for its result; None if its sample was rejected."""
        await self._call.write(raw)
        message = await self.receive()
        return message.result if message.WhichOneof("kind") == "result" else None

    async def finish(self, picture: int) -> None:
        """Send a sample's Stop, as every edge does at the verdict."""
        await self._call.write(self._samples.stops[picture])

    async def next_step(self, pictures: itertools.cycle[int]) -> Any:
        """The next frame of this stream's sample, or the first of the next picture; as `step`."""
        if not self._left:
            self._picture = next(pictures)
            self._left.extend(self._samples.frames[self._picture])
        result = await self.step(self._left.popleft())
        if result is None:
            self._left.clear()
        return result

    async def finish_if_done(self) -> None:
        """After `next_step`: the sample's Stop, if that was its last frame."""
        if not self._left:
            await self.finish(self._picture)

    async def close(self) -> None:
        """Cut the stream and the connection, whatever is under way."""
        self._call.cancel()
        await self._call.code()  # the loop rests when this returns: what gRPC still has to do must be done by then
        await self._channel.close(None)


class Window:
    """Counts what comes between `start` and `start + seconds`, and the CPU time of this process in between."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: float, seconds: float) -> None:
        self._start, self._end = start, start + seconds
        self._seconds = seconds
        self._rows: list[tuple[int, int, int, int]] = []
        self._late: list[int] = []
        self._rejections = 0
        self._cpu: list[float] = []
        # The loop's clock is the monotonic one.
        self._timers = [loop.call_at(moment, self._note_cpu) for moment in (self._start, self._end)]

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end

    def sent(self, planned: float) -> None:
        """A frame is sent that should have been at `planned`."""
        now = time.monotonic()
        if self._start <= now < self._end:
            self._late.append(round((now - planned) * 1e6))

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
        return Load(self._seconds, rows, self._rejections, cpu, np.array(self._late, np.int64))

    def _note_cpu(self) -> None:
        self._cpu.append(time.process_time())
