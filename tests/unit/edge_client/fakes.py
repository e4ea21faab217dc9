"""Stand-ins for the two sides of the loop: a head that counts and a cloud that answers from a table."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_client.sources import Sample
from edge_client.transport import Answer
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
    order of appearance from 1. With `quick` an answer is there at once, else only when it is waited for.
    """

    table: dict[int, Sequence[float]] = field(default_factory=dict)
    default: Sequence[float] = (0.5, 0.5)
    rejections: dict[tuple[int, int], Rejection] = field(default_factory=dict)
    silent: bool = False
    quick: bool = False
    sent: list[Frame | Stop] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    ready: dict[int, deque[Answer]] = field(default_factory=dict)
    most_ahead: int = 0

    async def open(self) -> Ready:
        return Ready(1, 1000)

    async def send(self, message: Frame | Stop) -> None:
        self.sent.append(message)
        if isinstance(message, Stop):
            self.ready.pop(message.sample, None)
            return
        if message.sample not in self.attempts:
            self.attempts.append(message.sample)
        answers = self.ready.setdefault(message.sample, deque())
        answers.append(self._answer(message))
        self.most_ahead = max(self.most_ahead, len(answers))

    async def receive(self, sample: int, within_s: float) -> Answer:
        await asyncio.sleep(0)
        if self.silent or within_s <= 0:
            raise TimeoutError
        answer = self.ready[sample].popleft()
        if isinstance(answer, Rejection):
            del self.ready[sample]
        return answer

    def arrived(self, sample: int) -> bool:
        return self.quick and bool(self.ready[sample])

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
