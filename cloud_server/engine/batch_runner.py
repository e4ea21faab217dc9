"""One batch through gather -> step -> scatter, so that a bad sample harms nobody but itself.

Nothing is committed before the scatter, the last of the three: a failure on the way leaves every slot as it was. Then
the samples are stepped one by one, and only those that fail by themselves are given up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from cloud_server.engine.decoder import Batch, Decoder
from cloud_server.engine.loaded_bundle import Lane
from cloud_server.engine.work import Answered, Decoded, Failed, Outcome, Work
from cloud_server.tails.base import Confidences, buckets
from shared.messages import RejectionCode
from shared.metrics import Metrics

log = logging.getLogger(__name__)

STAGE = "neucodex_cloud_stage_seconds"


@dataclass(eq=False)
class Stepped:
    """A batch that was stepped and committed, not yet told to anybody.

    Attributes:
        lane, batch: what was stepped.
        began: when, on `time.perf_counter`.
        seconds: it took.
        size: samples stepped together.
        rows: where each answered frame's confidences are: its position in the batch -> row of `confidences`.
        confidences: float32 [rows, classes].
        failed: the other frames, by position.
    """

    lane: Lane
    batch: Batch
    began: float
    seconds: float = 0.0
    size: int = 0
    rows: dict[int, int] = field(default_factory=dict)
    confidences: Confidences = field(default_factory=lambda: np.empty((0, 0), np.float32))
    failed: dict[int, Failed] = field(default_factory=dict)


class BatchRunner:
    """Steps batches and measures them. `step` belongs to the engine's thread; `outcomes` may run beside it."""

    def __init__(self, metrics: Metrics, decoder: Decoder) -> None:
        self._metrics = metrics
        self._decoder = decoder

    def warm_up(self, lane: Lane) -> Iterator[None]:
        """A step of every batch size, one for each `next`: the first of each is slow, and memory that is not there
        shows itself now. No slot's owner sees anything of it."""
        for size in buckets(lane.scheduler.max_batch):
            self.trial(lane, size)
            yield
        lane.batch_seconds = self.trial(lane, 1)

    def trial(self, lane: Lane, size: int) -> float:
        """Seconds of a step of `size` silent samples, of which nothing is committed."""
        frame = np.zeros(lane.codec.shape, np.uint8)
        state = lane.slots.fresh(size)
        began = time.perf_counter()
        lane.tail.step([frame] * size, [1] * size, state)
        return time.perf_counter() - began

    def decode(self, lane: Lane, batch: Batch, running: Batch = ()) -> None:
        """Decode frames, with their batch or ahead of it; see `Decoder.decode`."""
        began = time.perf_counter()
        self._decoder.decode(lane, batch, running)
        self._observe(lane, "decode", began)

    def step(self, lane: Lane, batch: Batch, began: float) -> Stepped:
        """Step a batch of distinct samples, all decoded, and commit what went well; `began` is when it was taken."""
        stepped = Stepped(lane, batch, began)
        sound: dict[int, Decoded] = {}
        for position, entry in enumerate(batch):
            decoded = entry.item.decoded
            if isinstance(decoded, Decoded):
                sound[position] = decoded
            else:
                assert decoded is not None, "decode comes before step"
                stepped.failed[position] = decoded
        stepped.size = len(sound)
        try:
            self._step(stepped, sound)
        except Exception:
            log.exception("bundle %s: a batch of %d failed; its samples are stepped one by one", lane.name, len(sound))
            stepped.size = 1
            for position, decoded in sound.items():
                self._step_alone(stepped, position, decoded)
        stepped.seconds = time.perf_counter() - stepped.began
        lane.batch_seconds += 0.1 * (stepped.seconds - lane.batch_seconds)
        return stepped

    def outcomes(self, stepped: Stepped) -> list[Outcome]:
        """What each frame's submitter is told, in the batch's order; the batch is counted."""
        confidences = stepped.confidences.tolist()
        compute_us = round(stepped.seconds * 1e6)
        outcomes: list[Outcome] = []
        for position, entry in enumerate(stepped.batch):
            row = stepped.rows.get(position)
            if row is None:
                outcomes.append(stepped.failed[position])
            else:
                queue_us = max(round((stepped.began - entry.arrived) * 1e6), 0)
                outcomes.append(Answered(entry.item, tuple(confidences[row]), queue_us, compute_us, stepped.size))
        self._count(stepped)
        return outcomes

    def _step(self, stepped: Stepped, sound: dict[int, Decoded]) -> None:
        """Gather, step, scatter these positions of the batch. Raises whatever goes wrong; then nothing is committed."""
        if not sound:
            return
        lane = stepped.lane
        works = [stepped.batch[position].item for position in sound]
        rows = [work.row for work in works]
        timesteps = [work.frame.timestep for work in works]
        began = time.perf_counter()
        lane.slots.reset([row for row, timestep in zip(rows, timesteps, strict=True) if timestep == 1])
        state = lane.slots.gather(rows)
        began = self._observe(lane, "gather", began)
        result = lane.tail.step([decoded.spikes for decoded in sound.values()], timesteps, state)
        began = self._observe(lane, "tail", began)
        lane.slots.scatter(rows, result.state)
        lane.pasts.update(zip(rows, (decoded.past for decoded in sound.values()), strict=True))
        self._observe(lane, "scatter", began)
        _keep(stepped, list(sound), works, result.confidences)

    def _step_alone(self, stepped: Stepped, position: int, decoded: Decoded) -> None:
        try:
            self._step(stepped, {position: decoded})
        except Exception as error:
            work = stepped.batch[position].item
            frame, name = work.frame, stepped.lane.name
            log.exception("bundle %s: sample %d failed at timestep %d", name, frame.sample, frame.timestep)
            # The kind alone: what an exception says may tell strangers about this machine.
            reason = f"the cloud failed computing ({type(error).__name__})"
            stepped.failed[position] = Failed(work, RejectionCode.INTERNAL, reason)

    def _count(self, stepped: Stepped) -> None:
        bundle = stepped.lane.name
        payload = sum(len(entry.item.frame.spikes) for entry in stepped.batch)
        self._metrics.count("neucodex_cloud_frames_total", len(stepped.rows), bundle=bundle)
        self._metrics.count("neucodex_cloud_payload_bytes_total", payload, bundle=bundle)
        self._metrics.observe("neucodex_cloud_batch_size", len(stepped.batch), bundle=bundle)
        for entry in stepped.batch:
            self._metrics.observe(STAGE, max(stepped.began - entry.arrived, 0.0), stage="queue", bundle=bundle)

    def _observe(self, lane: Lane, stage: str, since: float) -> float:
        now = time.perf_counter()
        self._metrics.observe(STAGE, now - since, stage=stage, bundle=lane.name)
        return now


def _keep(stepped: Stepped, positions: Sequence[int], works: Sequence[Work], confidences: Confidences) -> None:
    """Note the confidences; a sample whose logits left the numbers is given up, the others are not touched."""
    first = len(stepped.confidences)
    stepped.confidences = confidences if first == 0 else np.concatenate([stepped.confidences, confidences])
    finite: list[bool] = np.isfinite(confidences.sum(axis=1)).tolist()
    for row, (position, work, good) in enumerate(zip(positions, works, finite, strict=True), start=first):
        if good:
            stepped.rows[position] = row
        else:
            reason = "its confidences are no numbers: the bundle's weights are unsound"
            stepped.failed[position] = Failed(work, RejectionCode.INTERNAL, reason)
