"""Stand-ins for the two sides of the loop: a head that counts and a cloud that answers from a table."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_client.inference.sample import Sample
from edge_client.link.base import Reply
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

    def start(self, pixels: NDArray[np.uint8]) -> CountingRun:
        return CountingRun(self, int(pixels.flat[0]) * 16)


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

    `rejections` are given, one each, to the frames (attempt, timestep) named; attempts are the samples opened, from 1.
    Answers are given when `patient` frames of the sample are under way, or all T were sent. After `lost_after` frames
    the stream is lost.
    """

    table: dict[int, Sequence[float]] = field(default_factory=dict)
    default: Sequence[float] = (0.5, 0.5)
    rejections: dict[tuple[int, int], Rejection] = field(default_factory=dict)
    silent: bool = False
    patient: int = 1
    lost_after: int | None = None
    sent: list[Frame | Stop] = field(default_factory=list)
    opened: int = 0
    most_ahead: int = 0
    close_reason: NeucodexError | None = None
    handle: Callable[[int, FakeTransport], FakeSampleStream] = field(default_factory=lambda: FakeSampleStream)

    async def open(self, on_lost: Callable[[NeucodexError], None]) -> Ready:
        raise NotImplementedError("the link opens transports")

    def open_sample(self) -> FakeSampleStream:
        if self.close_reason is not None:
            raise self.close_reason
        self.opened += 1
        return self.handle(self.opened, self)

    async def close(self) -> None:
        pass

    @property
    def frames(self) -> list[Frame]:
        return [message for message in self.sent if isinstance(message, Frame)]

    @property
    def attempts(self) -> list[int]:
        """Numbers of the samples that sent a frame."""
        return list(dict.fromkeys(frame.sample for frame in self.frames))

    @property
    def stopped(self) -> list[int]:
        return [message.sample for message in self.sent if isinstance(message, Stop)]

    def answer(self, frame: Frame) -> Reply:
        rejection = self.rejections.get((frame.sample, frame.timestep))
        if rejection is not None:
            return Rejection(frame.sample, rejection.code, rejection.reason, rejection.retry_after_ms)
        confidences = self.table.get(frame.spikes[0], self.default)
        return StepResult(frame.sample, frame.timestep, tuple(confidences), (), 200, 3000, 1)


class FakeSampleStream:
    """A sample on a `FakeTransport`."""

    has_answer = False

    def __init__(self, number: int, transport: FakeTransport) -> None:
        self.number = number
        self.transport = transport
        self.answers: deque[Reply] = deque()
        self.sent = 0
        self.rejected = False
        self.may_answer = asyncio.Event()

    def send(self, frame: Frame) -> None:
        transport = self.transport
        if transport.close_reason is not None:
            raise transport.close_reason
        assert frame.sample == self.number
        transport.sent.append(frame)
        self.sent += 1
        self.answers.append(transport.answer(frame))
        transport.most_ahead = max(transport.most_ahead, len(self.answers))
        if len(transport.frames) == transport.lost_after:
            transport.close_reason = CloudUnavailable("as scripted")
        self._look()

    def when_flushed(self, do: Callable[[], None]) -> None:
        assert self.sent
        do()

    async def receive(self, within_s: float) -> Reply:
        await asyncio.sleep(0)
        if self.transport.close_reason is None and not self.transport.silent and within_s > 0:
            self._look()
            await asyncio.wait_for(self.may_answer.wait(), 5.0)
        if self.transport.close_reason is not None:
            raise self.transport.close_reason
        if self.transport.silent or within_s <= 0:
            raise TimeoutError
        answer = self.answers.popleft()
        self.rejected = isinstance(answer, Rejection)
        self.may_answer.clear()
        return answer

    def stop(self) -> list[Frame | Stop]:
        if self.rejected or self.transport.close_reason is not None:
            return [Stop(self.number)]
        self.transport.sent.append(Stop(self.number))
        return []

    def _look(self) -> None:
        if len(self.answers) >= self.transport.patient or self.sent == T or self.transport.close_reason is not None:
            self.may_answer.set()


class FakeLink:
    """One transport after the other, `pause_s` of the clock between them; then none."""

    def __init__(self, transports: Sequence[FakeTransport], clock: Clock, pause_s: float = 0.0) -> None:
        self.transports = list(transports)
        self._clock = clock
        self._pause_s = pause_s
        self._down_since = clock()

    @property
    def current(self) -> FakeTransport | None:
        if self.transports and self.transports[0].close_reason is None:
            return self.transports[0]
        return None

    @property
    def down_since(self) -> float | None:
        return self._down_since if self.current is None else None

    async def transport(self, within_s: float) -> FakeTransport:
        if self.transports and self.current is None:
            self.transports.pop(0)
            self._down_since = self._clock()
            if self.transports and self._pause_s <= within_s:
                await self._clock.sleep(self._pause_s)
                return self.transports[0]
        if self.current is None:
            self._clock.now += max(0.0, within_s)
            raise TimeoutError
        return self.current

    def unavailable_error(self) -> CloudUnavailable:
        return CloudUnavailable("no cloud, as scripted")
