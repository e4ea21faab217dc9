"""Stand-ins for the two sides of the loop: a head that counts and a cloud that answers from a table."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_client.inference.sample import Sample
from edge_client.link.inbox import Answer
from shared.errors import CloudUnavailable, NeucodexError
from shared.messages import Frame, Ready, Rejection, StepResult, Stop
from shared.spike_codec import Spikes

SHAPE = (1, 2, 4)
T = 4


def sample(number: int = 0) -> Sample:
    return Sample(number, f"sample{number}", None, np.full((1, 4, 4), number, np.uint8))


@dataclass
class CountingHead:
    """Its spikes at timestep t are those of the number 16 * picture + t, in binary."""

    steps: int = 0

    def start(self, frames: NDArray[np.uint8]) -> CountingRun:
        return CountingRun(self, int(frames.flat[0]) * 16)


@dataclass
class CountingRun:
    head: CountingHead
    value: int

    def step(self) -> Spikes:
        self.head.steps += 1
        self.value += 1
        return np.unpackbits(np.array([self.value], np.uint8)).reshape(SHAPE)


class Clock:
    """Time passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class FakeTransport:
    """Answers each frame from `table`: confidences by the frame's byte, else `default`.

    `rejections` are given, one each, to the frames (attempt, timestep) named, an attempt being a sample number in the
    order of appearance from 1. Answers are given when `patient` frames of the sample are under way, or all T were sent.
    After `lost_after` frames the stream is lost.
    """

    table: dict[int, Sequence[float]] = field(default_factory=dict)
    default: Sequence[float] = (0.5, 0.5)
    rejections: dict[tuple[int, int], Rejection] = field(default_factory=dict)
    silent: bool = False
    patient: int = 1
    lost_after: int | None = None
    sent: list[Frame | Stop] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    ready: dict[int, deque[Answer]] = field(default_factory=dict)
    nudged: dict[int, asyncio.Event] = field(default_factory=dict)
    stopped_at_once: list[int] = field(default_factory=list)
    most_ahead: int = 0
    ended: NeucodexError | None = None

    async def open(self) -> Ready:
        return Ready(1, 1000)

    def send(self, message: Frame) -> None:
        if self.ended is not None:
            raise self.ended
        self.sent.append(message)
        if message.sample not in self.attempts:
            self.attempts.append(message.sample)
            self.nudged[message.sample] = asyncio.Event()
        answers = self.ready.setdefault(message.sample, deque())
        answers.append(self._answer(message))
        self.most_ahead = max(self.most_ahead, len(answers))
        if len(self.frames) == self.lost_after:
            self.ended = CloudUnavailable("as scripted")

    def stop(self, sample: int, under_way: bool) -> list[Frame | Stop]:
        if self.ended is not None:
            return [Stop(sample)]
        self.sent.append(Stop(sample))
        if under_way:
            self.stopped_at_once.append(sample)
        self.ready.pop(sample, None)
        return []

    def when_written(self, sample: int, do: Callable[[], None]) -> None:
        assert any(frame.sample == sample for frame in self.frames)
        do()

    async def receive(self, sample: int, within_s: float) -> Answer | None:
        await asyncio.sleep(0)
        if self.ended is not None:
            raise self.ended
        if self.silent or within_s <= 0:
            raise TimeoutError
        answers = self.ready[sample]
        last_sent = [frame.timestep for frame in self.frames if frame.sample == sample][-1]
        if len(answers) < self.patient and last_sent < T:
            nudged = self.nudged[sample]
            await asyncio.wait_for(nudged.wait(), 5.0)
            nudged.clear()
            return None
        answer = answers.popleft()
        if isinstance(answer, Rejection):
            del self.ready[sample]
        return answer

    def arrived(self, sample: int) -> bool:
        return False

    def nudge(self, sample: int) -> None:
        self.nudged[sample].set()

    async def lost(self) -> NeucodexError:
        raise NotImplementedError("the loop does not wait for it")

    async def close(self) -> None:
        pass

    @property
    def frames(self) -> list[Frame]:
        return [message for message in self.sent if isinstance(message, Frame)]

    @property
    def stopped(self) -> list[int]:
        return [message.sample for message in self.sent if isinstance(message, Stop)]

    def _answer(self, frame: Frame) -> Answer:
        rejection = self.rejections.get((self.attempts.index(frame.sample) + 1, frame.timestep))
        if rejection is not None:
            return Rejection(frame.sample, rejection.code, rejection.reason, rejection.retry_after_ms)
        confidences = self.table.get(frame.spikes[0], self.default)
        return StepResult(frame.sample, frame.timestep, tuple(confidences), (), 200, 3000, 1)


class FakeLink:
    """One transport after the other, `pause_s` of the clock between them; then none."""

    def __init__(self, transports: Sequence[FakeTransport], clock: Clock, pause_s: float = 0.0) -> None:
        self.transports = list(transports)
        self.asked: list[float] = []
        self._clock = clock
        self._pause_s = pause_s
        self._down_since = clock()

    @property
    def down_since(self) -> float | None:
        if not self.transports or self.transports[0].ended is not None:
            return self._down_since
        return None

    async def stream(self, within_s: float) -> FakeTransport:
        self.asked.append(within_s)
        if self.transports and self.transports[0].ended is not None:
            self.transports.pop(0)
            self._down_since = self._clock()
            if self.transports and self._pause_s <= within_s:
                await self._clock.sleep(self._pause_s)
                return self.transports[0]
        if not self.transports or self.transports[0].ended is not None:
            self._clock.now += max(0.0, within_s)
            raise TimeoutError
        return self.transports[0]

    def trouble(self) -> CloudUnavailable:
        return CloudUnavailable("no cloud, as scripted")
