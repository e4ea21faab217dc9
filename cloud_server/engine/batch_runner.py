"""Runs one batch: gather -> step -> scatter. A bad sample affects no other sample.

Nothing is committed before the scatter, which comes last: a failure before it leaves every slot as it was. After a
failure the samples are stepped one by one, and only those that fail alone are given up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from cloud_server.engine.decoder import FrameBatch
from cloud_server.engine.loaded_bundle import LoadedBundle
from cloud_server.engine.requests import Answered, Failed, Outcome, StepRequest
from cloud_server.tails.base import Confidences, DecodedFrame, buckets
from shared.errors import BundleError
from shared.messages import RejectionCode
from shared.metrics import Metrics, Reading

log = logging.getLogger(__name__)

STAGE = "neucodex_cloud_stage_seconds"


@dataclass(eq=False)
class BatchResult:
    """A batch that was stepped and committed, but not yet delivered.

    Attributes:
        batch: what was stepped.
        began: when it was composed, on `time.perf_counter`.
        seconds: how long it took.
        size: samples stepped together.
        rows: row of `confidences` of each answered frame, by the frame's position in the batch.
        confidences: float32 [rows, classes]; None before the first step.
        failed: the other frames, by position.
        stages: seconds of each stage, with its name.
    """

    batch: FrameBatch
    began: float
    seconds: float = 0.0
    size: int = 0
    rows: dict[int, int] = field(default_factory=dict)
    confidences: Confidences | None = None
    failed: dict[int, Failed] = field(default_factory=dict)
    stages: list[tuple[str, float]] = field(default_factory=list)


class BatchRunner:
    """Steps the batches of one bundle and measures them.

    Everything but `outcomes` and `retry_after_ms` belongs to the engine's thread.

    Args:
        loaded: the bundle.
        metrics: of the process.

    Attributes:
        seconds: how long a batch takes, a moving average; the warm-up measures the first.
        failed_in_a_row: how many of the last batches answered no frame.
    """

    def __init__(self, loaded: LoadedBundle, metrics: Metrics) -> None:
        self.loaded = loaded
        self.seconds = 0.0
        self.failed_in_a_row = 0
        self._metrics = metrics

    def warm_up(self) -> Iterator[None]:
        """Step every batch size once, one for each `next`, and measure a step. No slot changes.

        The first step of a size is slow, and a lack of memory shows here and not under load.
        """
        for size in buckets(self.loaded.scheduler.max_batch):
            self.run_silent_step(size)
            yield
        self.seconds = self.run_silent_step(1)

    def run_silent_step(self, size: int) -> float:
        """Step `size` samples without spikes, commit nothing, and return the seconds that the step took.

        Raises:
            BundleError: the answers are no confidences.
        """
        frame = np.zeros(self.loaded.codec.shape, np.uint8)
        state = self.loaded.slots.fresh(size)
        began = time.perf_counter()
        confidences = self.loaded.tail.step([frame] * size, [1] * size, state).confidences
        seconds = time.perf_counter() - began
        if len(confidences) != size or not np.isfinite(confidences).all():
            raise BundleError(f"bundle {self.loaded.name}: its answers are not finite numbers: its weights are unsound")
        return seconds

    def retry_after_ms(self) -> int:
        """When a slot may be free again: about the time of a sample's timesteps, limited to 10 ms .. 1 s."""
        return round(min(max(self.seconds * self.loaded.timesteps, 0.01), 1.0) * 1000)

    def step(self, batch: FrameBatch, began: float) -> BatchResult:
        """Step a batch and commit the samples that succeeded.

        Args:
            batch: decoded frames of distinct samples.
            began: when the batch was composed, on `time.perf_counter`.
        """
        result = BatchResult(batch, began)
        valid: dict[int, DecodedFrame] = {}
        for position, entry in enumerate(batch):
            decoded = entry.item.decoded
            if isinstance(decoded, DecodedFrame):
                valid[position] = decoded
            else:
                assert decoded is not None, "decode comes before step"
                result.failed[position] = decoded
        result.size = len(valid)
        try:
            self._step(result, valid)
        except Exception:
            log.exception(
                "bundle %s: a batch of %d failed; its samples are stepped one by one", self.loaded.name, len(valid)
            )
            result.size = 1
            for position, decoded in valid.items():
                self._step_alone(result, position, decoded)
        self._count(result)
        return result

    def give_up(self, batch: FrameBatch, began: float) -> BatchResult:
        """The result of a batch that an internal error lost: every frame failed."""
        reason = "the cloud failed computing"
        failed = {n: Failed(entry.item, RejectionCode.INTERNAL, reason) for n, entry in enumerate(batch)}
        result = BatchResult(batch, began, failed=failed)
        self._count(result)
        return result

    def outcomes(self, result: BatchResult) -> list[Outcome]:
        """The outcome of each frame, in the batch's order. Also counts the batch in the metrics."""
        confidences = [] if result.confidences is None else result.confidences.tolist()
        compute_us = round(result.seconds * 1e6)
        outcomes: list[Outcome] = []
        for position, entry in enumerate(result.batch):
            row = result.rows.get(position)
            if row is None:
                outcomes.append(result.failed[position])
            else:
                queue_us = max(round((result.began - entry.arrived) * 1e6), 0)
                outcomes.append(Answered(entry.item, tuple(confidences[row]), queue_us, compute_us, result.size))
        self._metrics.record(_readings(result, self.loaded.name))
        return outcomes

    def _count(self, result: BatchResult) -> None:
        result.seconds = time.perf_counter() - result.began
        self.seconds += 0.1 * (result.seconds - self.seconds)
        self.failed_in_a_row = 0 if result.rows else self.failed_in_a_row + 1

    def _step(self, result: BatchResult, valid: dict[int, DecodedFrame]) -> None:
        """Gather, step and scatter the frames at these positions. If it raises, nothing is committed."""
        if not valid:
            return
        slots = self.loaded.slots
        requests = [result.batch[position].item for position in valid]
        rows = [request.row for request in requests]
        timesteps = [request.frame.timestep for request in requests]
        started = time.perf_counter()
        if new := [row for row, timestep in zip(rows, timesteps, strict=True) if timestep == 1]:
            slots.reset(new)
            for row in new:
                slots.last_frames[row] = None
        state = slots.gather(rows)
        gathered = time.perf_counter()
        output = self.loaded.tail.step([decoded.spikes for decoded in valid.values()], timesteps, state)
        stepped = time.perf_counter()
        slots.scatter(rows, output.state)
        for row, decoded in zip(rows, valid.values(), strict=True):
            slots.last_frames[row] = decoded
        scattered = time.perf_counter()
        result.stages += [
            ("gather", gathered - started),
            ("tail", stepped - gathered),
            ("scatter", scattered - stepped),
        ]
        _add_confidences(result, list(valid), requests, output.confidences)

    def _step_alone(self, result: BatchResult, position: int, decoded: DecodedFrame) -> None:
        try:
            self._step(result, {position: decoded})
        except Exception as error:
            request = result.batch[position].item
            frame, name = request.frame, self.loaded.name
            log.exception("bundle %s: sample %d failed at timestep %d", name, frame.sample, frame.timestep)
            # Only the error's class: its text may tell strangers about this machine.
            reason = f"the cloud failed computing ({type(error).__name__})"
            result.failed[position] = Failed(request, RejectionCode.INTERNAL, reason)


def _readings(result: BatchResult, bundle_name: str) -> list[Reading]:
    """The metrics of a batch."""
    bundle = {"bundle": bundle_name}
    queued = [("queue", max(result.began - entry.arrived, 0.0)) for entry in result.batch]
    payload = sum(len(entry.item.frame.spikes) for entry in result.batch)
    return [
        *((STAGE, seconds, {"stage": stage, **bundle}) for stage, seconds in (*queued, *result.stages)),
        ("neucodex_cloud_frames_total", len(result.rows), bundle),
        ("neucodex_cloud_payload_bytes_total", payload, bundle),
        ("neucodex_cloud_batch_size", len(result.batch), bundle),
    ]


def _add_confidences(
    result: BatchResult, positions: Sequence[int], requests: Sequence[StepRequest], confidences: Confidences
) -> None:
    """Store the confidences. A sample whose logits are no longer finite fails alone."""
    before = result.confidences
    first = 0 if before is None else len(before)
    result.confidences = confidences if before is None else np.concatenate([before, confidences])
    finite: list[bool] = np.isfinite(confidences.sum(axis=1)).tolist()
    for row, (position, request, good) in enumerate(zip(positions, requests, finite, strict=True), start=first):
        if good:
            result.rows[position] = row
        else:
            reason = "its confidences are not finite numbers: the bundle's weights are unsound"
            result.failed[position] = Failed(request, RejectionCode.INTERNAL, reason)
