"""A fleet of edges in one process: many streams, each on a connection of its own, with no head to wait for.

A `Generator` lives in a `WorkerProcess`: load generators must not share one GIL. All processes of a machine
share the clock `time.monotonic()`, so that several generators count in the same window.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.echo import ECHO, ByteStream
from benchmarks.load.samples import LoadSamples
from benchmarks.load.statistics import Load
from benchmarks.load.stream import EdgeStream, MeasuredSpan

CONNECTING = 64
"""Streams that connect at the same time; more would fill the listen queue."""

ANSWER_S = 120.0
"""Seconds after which an answer will not come any more."""

AFTER_REJECTION_S = 0.005
CLOSING_S = 0.1

T = TypeVar("T")


class Generator:
    """The streams of one process, opened for one measurement and closed after it."""

    def __init__(self, samples: LoadSamples) -> None:
        self._samples = samples
        self._streams: list[EdgeStream] = []

    async def open(self, address: str, streams: int, tokens: Sequence[str] = ()) -> float:
        """Open streams, each with one of the tokens in turn; returns the seconds it took."""
        began = time.monotonic()
        turns = itertools.cycle(tokens or (None,))
        for first in range(0, streams, CONNECTING):
            fresh = [EdgeStream(address, self._samples, next(turns)) for _ in range(min(CONNECTING, streams - first))]
            self._streams += fresh
            await asyncio.wait_for(_all(stream.open() for stream in fresh), ANSWER_S)
        return time.monotonic() - began

    async def close(self) -> None:
        """Cut all streams."""
        await _all(stream.aclose() for stream in self._streams)
        self._streams = []
        gc.collect()  # a channel that Python still holds keeps its connection
        await asyncio.sleep(CLOSING_S)

    async def drive(self, start: float, seconds: float, stop_chance: float = 0.0, pause_s: float = 0.0) -> Load:
        """Every stream: frame, result, next frame, sample after sample, from now to the window's end.

        Args:
            start: when the window begins, monotonic; until then is warm-up.
            seconds: the window's length.
            stop_chance: that a sample stops early, after each of its results.
            pause_s: the mean of a random pause before each frame. Many streams with long pauses send at random times.
        """
        window = MeasuredSpan(asyncio.get_running_loop(), start, seconds)
        await _all(
            self._drive(stream, number, window, stop_chance, pause_s) for number, stream in enumerate(self._streams)
        )
        return window.load()

    async def answers(self, pictures: Sequence[int]) -> tuple[dict[int, NDArray[np.float32]], Load]:
        """Confidences [T, classes] of pictures, the streams sharing the work; without those that were rejected."""
        window = MeasuredSpan(asyncio.get_running_loop(), time.monotonic(), ANSWER_S * 100)
        todo, found = deque(pictures), dict[int, NDArray[np.float32]]()
        await _all(self._answer(stream, todo, found, window) for stream in self._streams)
        return found, window.load()

    async def round_trips(self, echo: str, trips: int) -> dict[str, NDArray[np.float64]]:
        """One stream in lockstep, then an echo of a typical frame as often; microseconds.

        Returns:
            "cloud" [trips, 3] (round trip, queue wait and compute time as reported), "echo" [trips], back to back, and
            "echo after a pause" [trips], each after a wait as long as the cloud's last step: machines that slept for
            some milliseconds answer later.
        """
        stream, cloud = self._streams[0], []
        for picture in self._pictures(0):
            for raw in self._samples.frames[picture]:
                began = time.perf_counter()
                result = await stream.step(raw)
                cloud.append(((time.perf_counter() - began) * 1e6, result.queue_us, result.compute_us))
            await stream.finish(picture)
            if len(cloud) >= trips:
                break
        bounce, message = ByteStream(echo, ECHO), self._samples.typical_frame
        back_to_back = await bounce.round_trips_s(message, len(cloud))
        rested = await bounce.round_trips_s(message, len(cloud), pause_s=cloud[-1][2] / 1e6)
        await bounce.aclose()
        echoes = {"echo": back_to_back, "echo after a pause": rested}
        return {"cloud": np.array(cloud), **{name: np.array(taken) * 1e6 for name, taken in echoes.items()}}

    def _pictures(self, number: int) -> Iterable[int]:
        """All pictures in turn; each stream begins elsewhere."""
        count = len(self._samples.frames)
        begin = number * 7919 % count
        return itertools.cycle([*range(begin, count), *range(begin)])

    async def _drive(
        self, stream: EdgeStream, number: int, window: MeasuredSpan, stop_chance: float, pause_s: float
    ) -> None:
        chance = random.Random(number)  # noqa: S311  no secret
        for picture in self._pictures(number):
            for raw in self._samples.frames[picture]:
                if pause_s:
                    await asyncio.sleep(chance.expovariate(1 / pause_s))
                result = await window.step(stream.step(raw))
                if window.over:
                    return
                if result is None:
                    await asyncio.sleep(AFTER_REJECTION_S)
                    break
                if stop_chance and chance.random() < stop_chance:
                    break
            await stream.finish(picture)

    async def _answer(
        self, stream: EdgeStream, todo: deque[int], found: dict[int, NDArray[np.float32]], window: MeasuredSpan
    ) -> None:
        while todo:
            picture = todo.popleft()
            steps = []
            for raw in self._samples.frames[picture]:
                result = await asyncio.wait_for(window.step(stream.step(raw)), ANSWER_S)
                if result is None:
                    break
                steps.append(list(result.confidences))
            else:
                await stream.finish(picture)
                found[picture] = np.array(steps, np.float32)


async def _all(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    return list(await asyncio.gather(*work))
