"""What one stream means: its samples, their slots, and the answer to every message. No gRPC and no asyncio in here.

All of it runs in the one thread that serves the streams. `docs/serving.md` draws the states of a sample.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cloud_server.engine.loaded_bundle import Lane
from cloud_server.engine.work import Answered, Outcome, Work
from cloud_server.rpc.idle import IdleWatch
from shared.messages import CloudMessage, Frame, Rejection, RejectionCode, StepResult, Stop
from shared.metrics import Metrics

_keys = itertools.count()
"""Names samples and streams for the scheduler: edges choose their own numbers, and choose the same ones."""


class Submitter(Protocol):
    """What a session needs of the engine."""

    def submit(self, lane: Lane, stream: int, sample: int, work: Work) -> bool: ...

    def drop(self, lane: Lane, sample: int) -> None: ...


@dataclass(eq=False)
class Sample:
    """One sample of one stream.

    `received` is the last timestep accepted, `results` holds the answers so far for those who ask again. The slot is
    given back after the last timestep (`row` None); the record stays for repeated frames until Stop or idle timeout.
    """

    session: Session
    number: int
    row: int | None
    key: int = field(default_factory=_keys.__next__)
    received: int = 0
    closed: bool = False
    results: dict[int, StepResult] = field(default_factory=dict)


class Session:
    """One stream after its Open.

    Args:
        send: called with every answer, in order; must not block.
        max_open: samples that may have a slot at once.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        lane: Lane,
        engine: Submitter,
        *,
        top_k: int,
        max_open: int,
        watch: IdleWatch[Sample],
        metrics: Metrics,
        send: Callable[[CloudMessage], None],
        clock: Callable[[], float],
    ) -> None:
        self.lane = lane
        self.draining = False
        self.key = next(_keys)
        self._engine = engine
        self._top_k = top_k
        self._max_open = max_open
        self._watch = watch
        self._metrics = metrics
        self._send = send
        self._clock = clock
        self._samples: dict[int, Sample] = {}
        self._finished: OrderedDict[int, None] = OrderedDict()
        self._rejected: OrderedDict[int, None] = OrderedDict()
        """Samples given up or not taken: their frames that are under way get no second rejection each."""

    @property
    def open_samples(self) -> int:
        """Samples that have a slot: begun, neither stopped nor at their last timestep."""
        return len(self._samples) - len(self._finished)

    @property
    def unanswered(self) -> bool:
        """Whether a frame is queued or running whose result somebody waits for."""
        return any(sample.received > len(sample.results) for sample in self._samples.values())

    def stop(self, message: Stop) -> None:
        """The edge needs nothing more of a sample: its slot is free at once, what it has queued is dropped."""
        self._rejected.pop(message.sample, None)
        self._forget(message.sample)

    def frame(self, frame: Frame) -> None:
        """Queue a frame, answer a repeated one from the sample's record, or reject the sample."""
        sample = self._samples.get(frame.sample)
        if sample is None:
            self._first_frame(frame)
        elif not 1 <= frame.timestep <= self.lane.timesteps:
            self._reject(frame.sample, RejectionCode.INVALID_FRAME, self._outside(frame))
        elif frame.timestep in sample.results:
            self._watch.touch(sample, self._clock())
            self._send(sample.results[frame.timestep])
        elif frame.timestep > sample.received + 1:
            reason = (
                f"timestep {frame.timestep} came after {sample.received}: start the sample anew from its first frame"
            )
            self._reject(frame.sample, RejectionCode.STATE_LOST, reason)
        elif frame.timestep == sample.received + 1:
            self._accept(sample, frame)
        # else it is queued or running already, and answered once

    def settle(self, sample: Sample, outcome: Outcome) -> None:
        """The engine is done with a frame of one of this session's samples."""
        if sample.closed:
            return
        if not isinstance(outcome, Answered):
            self._reject(sample.number, outcome.code, outcome.reason)
            return
        result = self._result(outcome)
        sample.results[result.timestep] = result
        self._watch.touch(sample, self._clock())
        self._send(result)
        if result.timestep == self.lane.timesteps:
            self._give_back(sample)
            self._finished[sample.number] = None
            if len(self._finished) > self._max_open:
                self._forget(next(iter(self._finished)))

    def expire(self, sample: Sample) -> None:
        """The sample's idle time is up. One that waits for the cloud, not for its edge, has its time begin again."""
        if sample.closed:
            return
        if sample.number in self._finished:
            self._forget(sample.number)
        elif sample.received > len(sample.results):
            self._watch.touch(sample, self._clock())
        else:
            reason = f"no frame for {self._watch.timeout:g} s: start the sample anew from its first frame"
            self._reject(sample.number, RejectionCode.IDLE, reason)

    def close(self) -> None:
        """The stream is gone: all its slots are free at once."""
        for number in list(self._samples):
            self._forget(number)

    def _first_frame(self, frame: Frame) -> None:
        if frame.timestep != 1 and frame.sample in self._rejected:
            return
        if not 1 <= frame.timestep <= self.lane.timesteps:
            self._reject(frame.sample, RejectionCode.INVALID_FRAME, self._outside(frame))
        elif frame.timestep > 1:
            reason = f"timestep {frame.timestep} of a sample that is not open: start it anew from its first frame"
            self._reject(frame.sample, RejectionCode.STATE_LOST, reason)
        elif self.draining:
            # The stream ends when its open samples are done, and the edge takes this one elsewhere, with its frames
            # that are under way already.
            self._ignore(frame.sample)
        elif self.open_samples >= self._max_open:
            reason = f"this stream has {self._max_open} samples open, as many as it may: stop one first"
            self._reject(frame.sample, RejectionCode.NO_SLOT, reason, self.lane.retry_after_ms)
        else:
            self._begin(frame)

    def _begin(self, frame: Frame) -> None:
        row = self.lane.slots.allocate()
        if row is None:
            reason = f"all {self.lane.slots.count} slots of this replica are in use: try again or go to another"
            self._reject(frame.sample, RejectionCode.NO_SLOT, reason, self.lane.retry_after_ms)
            return
        self._rejected.pop(frame.sample, None)
        sample = self._samples[frame.sample] = Sample(self, frame.sample, row)
        self._show_slots()
        self._accept(sample, frame)

    def _accept(self, sample: Sample, frame: Frame) -> None:
        assert sample.row is not None, "a finished sample has all its results"
        if not self._engine.submit(self.lane, self.key, sample.key, Work(sample, sample.row, frame)):
            reason = f"{self.lane.scheduler.bound} frames wait already: try again or go to another replica"
            self._reject(frame.sample, RejectionCode.NO_SLOT, reason, self.lane.retry_after_ms)
            return
        sample.received = frame.timestep
        self._watch.touch(sample, self._clock())

    def _reject(self, number: int, code: RejectionCode, reason: str, retry_after_ms: int = 0) -> None:
        self._forget(number)
        self._ignore(number)
        self._metrics.count("neucodex_cloud_rejections_total", reason=code.name.lower(), bundle=self.lane.name)
        self._send(Rejection(number, code, reason, retry_after_ms))

    def _ignore(self, number: int) -> None:
        """What follows of this sample is on its way already and means nothing."""
        self._rejected[number] = None
        if len(self._rejected) > 4 * self._max_open:
            self._rejected.popitem(last=False)

    def _forget(self, number: int) -> None:
        sample = self._samples.pop(number, None)
        if sample is None:
            return
        sample.closed = True
        self._finished.pop(number, None)
        self._watch.forget(sample)
        self._give_back(sample)

    def _give_back(self, sample: Sample) -> None:
        """The slot, and what is queued for it. A batch that holds its frame may run on: see Slots."""
        if sample.row is None:
            return
        self._engine.drop(self.lane, sample.key)
        self.lane.slots.free(sample.row)
        sample.row = None
        self._show_slots()

    def _show_slots(self) -> None:
        self._metrics.set("neucodex_cloud_slots_in_use", self.lane.slots.in_use, bundle=self.lane.name)

    def _result(self, outcome: Answered) -> StepResult:
        confidences, classes = outcome.confidences, tuple[int, ...]()
        if self._top_k:
            order = sorted(range(len(confidences)), key=confidences.__getitem__, reverse=True)
            classes = tuple(order[: self._top_k])
            confidences = tuple(confidences[index] for index in classes)
        frame = outcome.work.frame
        return StepResult(
            frame.sample,
            frame.timestep,
            confidences,
            classes,
            outcome.queue_us,
            outcome.compute_us,
            outcome.batch_size,
        )

    def _outside(self, frame: Frame) -> str:
        return f"timestep {frame.timestep}: this bundle has 1..{self.lane.timesteps}"
