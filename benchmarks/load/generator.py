"""A fleet of edges in one process: many streams, each on a connection of its own, with no head to wait for.

A `Generator` lives in a process of its own (see `worker`). Its times are `time.monotonic()`, which all processes
of a machine share, so that several generators count in the same window.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from benchmarks.echo import METHOD as ECHO
from benchmarks.load.samples import LoadSamples
from benchmarks.load.statistics import Load
from benchmarks.load.stream import OPTIONS, Stream, Window
from shared.errors import CloudUnavailable

CONNECTING = 64
"""Streams that connect at the same time; more would fill the listen queue."""

ANSWER_S = 120.0
"""Seconds after which an answer will not come any more."""

AFTER_REJECTION_S = 0.005
CLOSING_S = 0.1

Returned = TypeVar("Returned")


class Generator:
    """The streams of one process, opened for one measurement and closed after it."""

    def __init__(self, samples: LoadSamples) -> None:
        self._samples = samples
        # One loop for all calls: gRPC's poller belongs to the first loop it sees.
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._streams: list[Stream] = []

    def open(self, address: str, streams: int) -> float:
        """Open streams; returns the seconds it took."""
        return self._run(self._open(address, streams))

    def close(self) -> None:
        """Cut all streams."""
        self._run(_all(stream.close() for stream in self._streams))
        self._streams = []
        gc.collect()  # a channel that Python still holds keeps its connection
        self._run(asyncio.sleep(CLOSING_S))

    def lockstep(self, start: float, seconds: float, stop_chance: float = 0.0) -> Load:
        """Every stream: frame, result, next frame, sample after sample, from now to the window's end.

        Args:
            start: when the window begins, monotonic; until then is warm-up.
            seconds: the window's length.
            stop_chance: that a sample stops early, after each of its results.
        """
        window = Window(self._loop, start, seconds)
        clients = [self._keep_busy(stream, number, window, stop_chance) for number, stream in enumerate(self._streams)]
        self._run(_all(clients))
        return window.load()

    def arrivals(self, start: float, seconds: float, rate: float, seed: int) -> Load:
        """Frames at random times, `rate` a second on average, whether or not the cloud keeps up (a Poisson process).

        Each is the next frame of the stream that has been without one for longest. If every stream waits for a result,
        it is sent as soon as one comes: `late_us` shows that.
        """
        window = Window(self._loop, start, seconds)
        self._run(self._arrivals(window, rate, random.Random(seed)))  # noqa: S311  no secret
        return window.load()

    def answers(self, pictures: Sequence[int]) -> tuple[NDArray[np.float32], Load]:
        """Confidences of pictures at every timestep, [pictures, T, classes], the streams sharing the work."""
        window = Window(self._loop, time.monotonic(), ANSWER_S * 100)
        found = self._run(self._answers(pictures, window))
        return np.array(found, np.float32), window.load()

    def one_sample_each(self) -> tuple[int, float]:
        """Every stream one sample, all at once; how many were answered to the last timestep, and the seconds taken."""
        began = time.monotonic()
        served = self._run(_all(self._one_sample(stream, number) for number, stream in enumerate(self._streams)))
        return sum(served), time.monotonic() - began

    def round_trips(self, echo: str, blocks: int, trips: int) -> dict[str, NDArray[np.int64]]:
        """One stream in lockstep, and an echo of the same bytes, in turns of at least `trips`; nanoseconds.

        Returns:
            "cloud" [trips, 3] (round trip, queue wait and compute time as reported), "echo" [trips], back to back, and
            "echo after a pause" [trips], each after a wait as long as the cloud's last step: machines that slept for
            some milliseconds answer later.
        """
        return self._run(self._round_trips(echo, blocks, trips))

    def _run(self, work: Coroutine[Any, Any, Returned]) -> Returned:
        return self._loop.run_until_complete(work)

    async def _open(self, address: str, streams: int) -> float:
        began = time.monotonic()
        for first in range(0, streams, CONNECTING):
            fresh = [Stream(address, self._samples) for _ in range(min(CONNECTING, streams - first))]
            self._streams += fresh
            await asyncio.wait_for(_all(stream.open() for stream in fresh), ANSWER_S)
        return time.monotonic() - began

    def _pictures(self, number: int) -> itertools.cycle[int]:
        """All pictures in turn; each stream begins elsewhere."""
        count = len(self._samples.frames)
        begin = number * 7919 % count
        return itertools.cycle([*range(begin, count), *range(begin)])

    async def _keep_busy(self, stream: Stream, number: int, window: Window, stop_chance: float) -> None:
        chance = random.Random(number)  # noqa: S311  no secret
        for picture in self._pictures(number):
            for raw in self._samples.frames[picture]:
                result = await window.step(stream.step(raw))
                if window.over:
                    return
                if result is None:
                    await asyncio.sleep(AFTER_REJECTION_S)
                    break
                if stop_chance and chance.random() < stop_chance:
                    break
            await stream.finish(picture)

    async def _arrivals(self, window: Window, rate: float, chance: random.Random) -> None:
        idle, late = deque(self._streams), deque[float]()
        pictures, running = self._pictures(0), set[asyncio.Task[None]]()

        async def serve(stream: Stream, planned: float) -> None:
            window.sent(planned)
            await window.step(stream.next_step(pictures))
            await stream.finish_if_done()
            if late:
                launch(stream, late.popleft())
            else:
                idle.append(stream)

        def launch(stream: Stream, planned: float) -> None:
            task = asyncio.create_task(serve(stream, planned))
            running.add(task)
            task.add_done_callback(running.discard)

        planned = time.monotonic()
        while not window.over:
            planned += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, planned - time.monotonic()))
            if idle:
                launch(idle.popleft(), planned)
            else:
                late.append(planned)
        late.clear()
        await asyncio.wait_for(_all(tuple(running)), ANSWER_S)

    async def _answers(self, pictures: Sequence[int], window: Window) -> list[list[list[float]]]:
        found: dict[int, list[list[float]]] = {}
        todo = deque(pictures)

        async def work(stream: Stream) -> None:
            while todo:
                picture = todo.popleft()
                confidences = []
                for raw in self._samples.frames[picture]:
                    result = await asyncio.wait_for(window.step(stream.step(raw)), ANSWER_S)
                    if result is None:
                        raise CloudUnavailable(f"picture {picture} was rejected")
                    confidences.append(list(result.confidences))
                await stream.finish(picture)
                found[picture] = confidences

        await _all(work(stream) for stream in self._streams)
        return [found[picture] for picture in pictures]

    async def _one_sample(self, stream: Stream, number: int) -> bool:
        picture = number % len(self._samples.frames)
        for raw in self._samples.frames[picture]:
            if await asyncio.wait_for(stream.step(raw), ANSWER_S) is None:
                return False
        await stream.finish(picture)
        return True

    async def _round_trips(self, echo: str, blocks: int, trips: int) -> dict[str, NDArray[np.int64]]:
        stream, ns = self._streams[0], time.perf_counter_ns
        found: dict[str, list[Any]] = {"cloud": [], "echo": [], "echo after a pause": []}
        pictures = self._pictures(0)
        async with grpc.aio.insecure_channel(echo, options=OPTIONS) as channel:
            bounce: Any = channel.stream_stream(ECHO, None, None)()
            for _ in range(blocks):
                raws: list[bytes] = []
                while len(raws) < trips:
                    picture = next(pictures)
                    for raw in self._samples.frames[picture]:
                        began = ns()
                        result = await stream.step(raw)
                        found["cloud"].append((ns() - began, result.queue_us * 1000, result.compute_us * 1000))
                        raws.append(raw)
                    await stream.finish(picture)
                for name, pause in (("echo", 0.0), ("echo after a pause", found["cloud"][-1][2] / 1e9)):
                    for raw in raws:
                        if pause:
                            await asyncio.sleep(pause)
                        began = ns()
                        await bounce.write(raw)
                        await bounce.read()
                        found[name].append(ns() - began)
            bounce.cancel()
        return {name: np.array(values, np.int64) for name, values in found.items()}


async def _all(work: Any) -> list[Any]:
    return list(await asyncio.gather(*work))
