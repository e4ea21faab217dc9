"""What the messages of one stream do: its samples, their slots, and the answers. No gRPC and no asyncio in here.

All of it runs in the thread that serves the streams. `docs/serving.md` draws the states of a sample.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from cloud_server.engine.loaded_bundle import LoadedBundle
from cloud_server.engine.requests import Answered, Outcome, StepRequest
from shared.messages import CloudMessage, Frame, Rejection, RejectionCode, StepResult, Stop
from shared.metrics import Metrics

_keys = itertools.count()
"""Keys of streams and samples in the scheduler. The numbers that edges choose are the same on many streams."""


class EngineInterface(Protocol):
    """The methods of the engine that a session calls; see `Engine`."""

    def submit(self, loaded: LoadedBundle, owner: Hashable, stream: int, sample: int, request: StepRequest) -> bool: ...

    def drop(self, loaded: LoadedBundle, sample: int) -> None: ...

    def retry_after_ms(self, loaded: LoadedBundle) -> int: ...


@dataclass(eq=False)
class OpenSample:
    """One sample of one stream, from its first frame to Stop, rejection or idle timeout.

    Attributes:
        session: of the stream.
        number: the edge's number for it.
        row: its slot; None after the last timestep, when the slot is free again.
        key: its key in the scheduler.
        received: the last timestep that was accepted.
        active_at: when its last frame came or its last answer went.
        closed: whether the session has forgotten it.
        results: the answers so far, by timestep, for frames that are sent again.
    """

    session: StreamSession
    number: int
    row: int | None
    key: int = field(default_factory=_keys.__next__)
    received: int = 0
    active_at: float = 0.0
    closed: bool = False
    results: dict[int, StepResult] = field(default_factory=dict)


class StreamSession:
    """One stream after its Open.

    Args:
        loaded: the bundle that the edge asked for.
        engine: steps the frames.
        owner: the identity that opened the stream. Slots, places in the queue and turns are shared among owners.
        top_k: classes in an answer; 0 for all.
        max_open: samples that may have a slot at once.
        idle_timeout: seconds without a frame or an answer after which a sample is rejected.
        metrics: of the process.
        send: called with every answer, in order; must not block.
        on_limited: called when a sample is rejected because the owner has used up its share of "slots" or "queue".
        clock: monotonic seconds.
    """

    def __init__(
        self,
        loaded: LoadedBundle,
        engine: EngineInterface,
        *,
        owner: Hashable,
        top_k: int,
        max_open: int,
        idle_timeout: float,
        metrics: Metrics,
        send: Callable[[CloudMessage], None],
        on_limited: Callable[[Literal["slots", "queue"]], None],
        clock: Callable[[], float],
    ) -> None:
        self.loaded = loaded
        self.draining = False
        self.key = next(_keys)
        self._engine = engine
        self._owner = owner
        self._top_k = top_k
        self._max_open = max_open
        self._idle_timeout = idle_timeout
        self._metrics = metrics
        self._send = send
        self._on_limited = on_limited
        self._clock = clock
        self._without_sample_since = clock()
        self._samples: dict[int, OpenSample] = {}
        self._finished: OrderedDict[int, None] = OrderedDict()
        self._rejected: OrderedDict[int, None] = OrderedDict()
        """Samples that were rejected or ignored. Their frames may still arrive, and get no second rejection."""

    @property
    def open_samples(self) -> int:
        """How many samples have a slot: begun, neither stopped nor at their last timestep."""
        return len(self._samples) - len(self._finished)

    @property
    def idle_since(self) -> float | None:
        """Since when no sample had a slot, in seconds of `clock`; None while one has."""
        return None if self.open_samples else self._without_sample_since

    @property
    def has_unanswered_frames(self) -> bool:
        """Whether a frame of the stream is queued or running."""
        return any(sample.received > len(sample.results) for sample in self._samples.values())

    def handle_stop(self, message: Stop) -> None:
        """Forget a sample: its slot is free at once, its waiting frames are dropped."""
        self._rejected.pop(message.sample, None)
        self._forget(message.sample)

    def handle_frame(self, frame: Frame) -> None:
        """Queue a frame, answer a repeated one from the sample's results, or reject the sample."""
        sample = self._samples.get(frame.sample)
        if sample is None:
            self._handle_first_frame(frame)
        elif not 1 <= frame.timestep <= self.loaded.timesteps:
            self._reject(frame.sample, RejectionCode.INVALID_FRAME, self._out_of_range(frame))
        elif frame.timestep in sample.results:
            sample.active_at = self._clock()
            self._send(sample.results[frame.timestep])
        elif frame.timestep > sample.received + 1:
            reason = (
                f"timestep {frame.timestep} came after {sample.received}: start the sample again from its first frame"
            )
            self._reject(frame.sample, RejectionCode.STATE_LOST, reason)
        elif frame.timestep == sample.received + 1:
            self._accept(sample, frame)
        # else the frame is queued or running already, and will be answered once

    def handle_outcome(self, sample: OpenSample, outcome: Outcome) -> None:
        """Answer a frame with what the engine returned for it.

        Args:
            sample: of this session; the token of the request.
            outcome: of one of its frames.
        """
        if sample.closed:
            return
        if not isinstance(outcome, Answered):
            self._reject(sample.number, outcome.code, outcome.reason)
            return
        result = self._result(outcome)
        sample.results[result.timestep] = result
        sample.active_at = self._clock()
        self._send(result)
        if result.timestep == self.loaded.timesteps:
            self._free_slot(sample)
            self._finished[sample.number] = None
            if len(self._finished) > self._max_open:
                self._forget(next(iter(self._finished)))

    def expire_idle(self) -> float | None:
        """Give up the samples that were idle for too long. For one that waits for the cloud the time starts again.

        Returns:
            When the next sample is due if nothing happens before, in seconds of `clock`; None if there is no sample.
        """
        now = self._clock()
        for sample in list(self._samples.values()):
            if now < sample.active_at + self._idle_timeout:
                continue
            if sample.number in self._finished:
                self._forget(sample.number)
            elif sample.received > len(sample.results):
                sample.active_at = now
            else:
                reason = f"no frame for {self._idle_timeout:g} s: start the sample again from its first frame"
                self._reject(sample.number, RejectionCode.IDLE, reason)
        return min((sample.active_at + self._idle_timeout for sample in self._samples.values()), default=None)

    def close(self) -> None:
        """Forget all samples: their slots are free at once."""
        for number in list(self._samples):
            self._forget(number)

    def _handle_first_frame(self, frame: Frame) -> None:
        """Handle the first frame of a sample that is not open."""
        if frame.timestep != 1 and frame.sample in self._rejected:
            return
        if not 1 <= frame.timestep <= self.loaded.timesteps:
            self._reject(frame.sample, RejectionCode.INVALID_FRAME, self._out_of_range(frame))
        elif frame.timestep > 1:
            reason = f"timestep {frame.timestep} of a sample that is not open: start it again from its first frame"
            self._reject(frame.sample, RejectionCode.STATE_LOST, reason)
        elif self.draining:
            # The stream ends when its open samples are done. The edge then sends this sample to another cloud.
            self._ignore(frame.sample)
        elif self.open_samples >= self._max_open:
            reason = f"this stream has {self._max_open} samples open, as many as it may: stop one first"
            self._reject_for_now(frame.sample, reason)
        else:
            self._begin(frame)

    def _begin(self, frame: Frame) -> None:
        if not self.loaded.scheduler.has_room(self._owner):
            self._reject_beyond_share(frame.sample, "queue")
            return
        row = self.loaded.slots.allocate(self._owner)
        if row is None:
            self._reject_beyond_share(frame.sample, "slots")
            return
        self._rejected.pop(frame.sample, None)
        sample = self._samples[frame.sample] = OpenSample(self, frame.sample, row)
        self._show_slots()
        self._accept(sample, frame)

    def _accept(self, sample: OpenSample, frame: Frame) -> None:
        assert sample.row is not None, "a finished sample has all its results"
        request = StepRequest(sample, sample.row, frame)
        if not self._engine.submit(self.loaded, self._owner, self.key, sample.key, request):
            self._reject_for_now(frame.sample, self._all_in_use("queue"))
            return
        sample.received = frame.timestep
        sample.active_at = self._clock()

    def _reject_beyond_share(self, number: int, limit: Literal["slots", "queue"]) -> None:
        """Reject a new sample: all places are taken, or the owner has as many as it may have beside the others."""
        slots, scheduler = self.loaded.slots, self.loaded.scheduler
        if slots.in_use == slots.count or scheduler.waiting >= scheduler.max_waiting:
            self._reject_for_now(number, self._all_in_use(limit))
            return
        self._on_limited(limit)
        reason = f"the {limit} of this replica are shared, and you have your share: try again or go to another"
        self._reject_for_now(number, reason)

    def _all_in_use(self, limit: Literal["slots", "queue"]) -> str:
        if limit == "queue":
            return f"{self.loaded.scheduler.max_waiting} frames wait already: try again or go to another replica"
        return f"all {self.loaded.slots.count} slots of this replica are in use: try again or go to another"

    def _reject_for_now(self, number: int, reason: str) -> None:
        """Reject a sample because the cloud is full, and say when to try again."""
        self._reject(number, RejectionCode.NO_SLOT, reason, self._engine.retry_after_ms(self.loaded))

    def _reject(self, number: int, code: RejectionCode, reason: str, retry_after_ms: int = 0) -> None:
        self._forget(number)
        self._ignore(number)
        self._metrics.count("neucodex_cloud_rejections_total", reason=code.name.lower(), bundle=self.loaded.name)
        self._send(Rejection(number, code, reason, retry_after_ms))

    def _ignore(self, number: int) -> None:
        """Ignore frames of the sample that are still to arrive; a frame of timestep 1 starts it again."""
        self._rejected[number] = None
        if len(self._rejected) > 4 * self._max_open:
            self._rejected.popitem(last=False)

    def _forget(self, number: int) -> None:
        sample = self._samples.pop(number, None)
        if sample is None:
            return
        sample.closed = True
        self._finished.pop(number, None)
        self._free_slot(sample)

    def _free_slot(self, sample: OpenSample) -> None:
        """Free the slot and drop the waiting frames. A batch with a frame of the sample may still run; see `Slots`."""
        if sample.row is None:
            return
        if sample.received > len(sample.results):
            self._engine.drop(self.loaded, sample.key)
        self.loaded.slots.free(sample.row)
        sample.row = None
        self._without_sample_since = self._clock()
        self._show_slots()

    def _show_slots(self) -> None:
        self._metrics.set("neucodex_cloud_slots_in_use", self.loaded.slots.in_use, bundle=self.loaded.name)

    def _result(self, outcome: Answered) -> StepResult:
        confidences, classes = outcome.confidences, tuple[int, ...]()
        if self._top_k:
            order = sorted(range(len(confidences)), key=confidences.__getitem__, reverse=True)
            classes = tuple(order[: self._top_k])
            confidences = tuple(confidences[index] for index in classes)
        frame = outcome.request.frame
        return StepResult(
            frame.sample,
            frame.timestep,
            confidences,
            classes,
            outcome.queue_us,
            outcome.compute_us,
            outcome.batch_size,
        )

    def _out_of_range(self, frame: Frame) -> str:
        return f"timestep {frame.timestep}: this bundle has 1..{self.loaded.timesteps}"
