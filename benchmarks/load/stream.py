"""One edge's stream as a load generator has it, and the window of time in which its results count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np

from benchmarks.echo import ByteStream
from benchmarks.load.samples import LoadSamples
from benchmarks.load.statistics import Load
from protos import co_inference_pb2 as pb
from shared.errors import CloudUnavailable
from shared.security import AUTHORIZATION, bearer

METHOD = "/neucodex.v1.CoInference/Infer"

OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)
"""A connection for each channel: a fleet is not one machine."""


class EdgeStream(ByteStream):
    """One edge's connection and stream; one sample at a time."""

    def __init__(self, address: str, samples: LoadSamples, token: str | None = None) -> None:
        metadata = [(AUTHORIZATION, bearer(token))] if token else []
        super().__init__(address, METHOD, OWN_CONNECTION, metadata=metadata)
        self._samples = samples

    async def open(self) -> None:
        """Send Open, wait for Ready.

        Raises:
            CloudUnavailable: something else came, or the stream ended.
        """
        message = pb.CloudMessage.FromString(await self.ask(self._samples.open))
        if not message.HasField("ready"):
            raise CloudUnavailable(f"the cloud's first message is {message.WhichOneof('kind')}, not ready")

    async def step(self, raw: bytes) -> Any:
        """Send a frame and wait for its result; None if its sample was rejected.

        Raises:
            CloudUnavailable: the stream ended.
        """
        message = pb.CloudMessage.FromString(await self.ask(raw))
        return message.result if message.HasField("result") else None

    async def finish(self, picture: int) -> None:
        """Send a sample's Stop, as every edge does at the verdict."""
        await self.send(self._samples.stops[picture])


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
