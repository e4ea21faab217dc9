"""One batch through decode -> gather -> step -> scatter, so that a bad sample harms nobody but itself.

Nothing is committed before the scatter, the last of the four: a failure on the way leaves every slot as it was. Then
the samples are stepped one by one, and only those that fail by themselves are given up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cloud_server.lane import Lane
from cloud_server.scheduler import Queued, buckets
from cloud_server.tail import Confidences
from cloud_server.work import Answered, Failed, Outcome, Work
from shared.errors import CodecError
from shared.messages import RejectionCode
from shared.metrics import Metrics
from shared.spike_codec import Past, Spikes

log = logging.getLogger(__name__)

STAGE = "neucodex_cloud_stage_seconds"


@dataclass(frozen=True, eq=False)
class _Decoded:
    """A frame, and what the next one's decoding will have to know of it."""

    work: Work
    spikes: Spikes
    past: Past


class BatchRunner:
    """Steps batches and measures them. Belongs to the engine's thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def warm_up(self, lane: Lane) -> None:
        """A step of every batch size: the first of each is slow, and memory that is not there shows itself now."""
        frame = np.zeros(lane.codec.shape, np.uint8)
        for size in buckets(lane.scheduler.max_batch):
            rows = range(size)
            lane.slots.reset(rows)
            lane.tail.step([frame] * size, [1] * size, lane.slots.gather(rows))
        began = time.perf_counter()
        lane.tail.step([frame], [1], lane.slots.gather([0]))
        lane.batch_seconds = time.perf_counter() - began

    def run(self, lane: Lane, batch: Sequence[Queued[Work]]) -> list[Outcome]:
        """Step a batch of distinct samples; one outcome for each of its frames, in their order."""
        began = time.perf_counter()
        results: dict[int, tuple[float, ...] | Failed] = {}
        sound: dict[int, _Decoded] = {}
        for position, entry in enumerate(batch):
            decoded = self._decode(lane, entry.item)
            if isinstance(decoded, Failed):
                results[position] = decoded
            else:
                sound[position] = decoded
        self._observe(lane, "decode", began)
        alone = False
        try:
            results.update(zip(sound, self._step(lane, list(sound.values())), strict=True))
        except Exception:
            log.exception("bundle %s: a batch of %d failed; its samples are stepped one by one", lane.name, len(sound))
            alone = True
            for position, decoded in sound.items():
                results[position] = self._step_alone(lane, decoded)
        took = time.perf_counter() - began
        size = 1 if alone else len(sound)
        outcomes = [self._outcome(entry, results[index], began, took, size) for index, entry in enumerate(batch)]
        self._count(lane, batch, outcomes, began, took)
        return outcomes

    def _decode(self, lane: Lane, work: Work) -> _Decoded | Failed:
        frame = work.frame
        if frame.timestep > 1 and lane.slots.steps[work.row] != frame.timestep - 1:
            return Failed(work, RejectionCode.STATE_LOST, f"no state before timestep {frame.timestep}: start it anew")
        # As with the state: a row's former owner has left something there, which a first frame does not look at.
        past = lane.pasts[work.row] if frame.timestep > 1 else None
        try:
            spikes = lane.codec.decode(frame.codec, frame.spikes, past)
        except CodecError as error:
            return Failed(work, RejectionCode.INVALID_FRAME, f"timestep {frame.timestep}: {error}")
        return _Decoded(work, spikes, lane.codec.after(past, spikes))

    def _step(self, lane: Lane, decoded: Sequence[_Decoded]) -> list[tuple[float, ...] | Failed]:
        """Gather, step, scatter. Raises whatever goes wrong; then nothing is committed."""
        if not decoded:
            return []
        rows = [each.work.row for each in decoded]
        timesteps = [each.work.frame.timestep for each in decoded]
        began = time.perf_counter()
        lane.slots.reset([row for row, timestep in zip(rows, timesteps, strict=True) if timestep == 1])
        state = lane.slots.gather(rows)
        began = self._observe(lane, "gather", began)
        stepped = lane.tail.step([each.spikes for each in decoded], timesteps, state)
        began = self._observe(lane, "tail", began)
        lane.slots.scatter(rows, stepped.state)
        lane.pasts.update(zip(rows, (each.past for each in decoded), strict=True))
        self._observe(lane, "scatter", began)
        return _by_sample(decoded, stepped.confidences)

    def _step_alone(self, lane: Lane, decoded: _Decoded) -> tuple[float, ...] | Failed:
        try:
            return self._step(lane, [decoded])[0]
        except Exception as error:
            frame = decoded.work.frame
            log.exception("bundle %s: sample %d failed at timestep %d", lane.name, frame.sample, frame.timestep)
            # The kind alone: what an exception says may tell strangers about this machine.
            return Failed(decoded.work, RejectionCode.INTERNAL, f"the cloud failed computing ({type(error).__name__})")

    def _outcome(
        self, entry: Queued[Work], result: tuple[float, ...] | Failed, began: float, took: float, size: int
    ) -> Outcome:
        if isinstance(result, Failed):
            return result
        queue_us = round((began - entry.arrived) * 1e6)
        return Answered(entry.item, result, max(queue_us, 0), round(took * 1e6), size)

    def _count(
        self, lane: Lane, batch: Sequence[Queued[Work]], outcomes: Sequence[Outcome], began: float, took: float
    ) -> None:
        lane.batch_seconds += 0.1 * (took - lane.batch_seconds)
        answered = sum(isinstance(outcome, Answered) for outcome in outcomes)
        payload = sum(len(entry.item.frame.spikes) for entry in batch)
        self._metrics.count("neucodex_cloud_frames_total", answered, bundle=lane.name)
        self._metrics.count("neucodex_cloud_payload_bytes_total", payload, bundle=lane.name)
        self._metrics.observe("neucodex_cloud_batch_size", len(batch), bundle=lane.name)
        for entry in batch:
            self._metrics.observe(STAGE, max(began - entry.arrived, 0.0), stage="queue", bundle=lane.name)

    def _observe(self, lane: Lane, stage: str, since: float) -> float:
        now = time.perf_counter()
        self._metrics.observe(STAGE, now - since, stage=stage, bundle=lane.name)
        return now


def _by_sample(decoded: Sequence[_Decoded], confidences: Confidences) -> list[tuple[float, ...] | Failed]:
    """Each sample's confidences; a sample whose logits left the numbers is given up, the others are not touched."""
    finite: list[bool] = np.isfinite(confidences.sum(axis=1)).tolist()
    return [
        tuple(row)
        if good
        else Failed(
            each.work, RejectionCode.INTERNAL, "its confidences are no numbers: the bundle's weights are unsound"
        )
        for each, row, good in zip(decoded, confidences.tolist(), finite, strict=True)
    ]
