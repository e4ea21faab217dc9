"""The one owner of the accelerator: a thread that runs one batch after the other, of all bundles."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence

import torch

from cloud_server.batch_runner import BatchRunner
from cloud_server.lane import Lane
from cloud_server.scheduler import Queued
from cloud_server.work import Deliver, Failed, Outcome, Work
from shared.messages import RejectionCode
from shared.metrics import Metrics

log = logging.getLogger(__name__)

Batch = tuple[Queued[Work], ...]


class Engine:
    """Takes batches from the lanes' schedulers in turn and runs them.

    `submit` and `drop` may be called from any thread. `deliver` and `warmed_up` are called by the engine's own thread
    and must not block it: `deliver` once a batch with all of its outcomes, `warmed_up` once, with what went wrong, if
    anything did.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        deliver: Deliver,
        warmed_up: Callable[[Exception | None], None],
        metrics: Metrics,
        threads: int | None = None,
    ) -> None:
        self._lanes = list(lanes)
        self._deliver = deliver
        self._warmed_up = warmed_up
        self._metrics = metrics
        self._runner = BatchRunner(metrics)
        self._threads = threads
        self._changed = threading.Condition()
        """Guards the schedulers; notified when one of them may have a batch."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin: first a warm-up step of every batch size of every lane, then batches as they come."""
        self._thread.start()

    def stop(self) -> None:
        """Let the running batch end, run no other, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, lane: Lane, stream: Hashable, sample: Hashable, work: Work) -> bool:
        """Queue the next frame of a sample; False if the lane's queue is full."""
        with self._changed:
            taken = lane.scheduler.submit(stream, sample, work, time.perf_counter())
            self._changed.notify()
        return taken

    def drop(self, lane: Lane, sample: Hashable) -> None:
        """Forget a sample's waiting frames; the outcome of a running one is still delivered."""
        with self._changed:
            lane.scheduler.drop(sample)

    def _run(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)  # OpenMP keeps this for each thread: setting it elsewhere is no use
        with torch.inference_mode():
            try:
                for lane in self._lanes:
                    self._runner.warm_up(lane)
            except Exception as error:
                self._warmed_up(error)
                return
            self._warmed_up(None)
            while (chosen := self._next_batch()) is not None:
                self._run_batch(*chosen)

    def _next_batch(self) -> tuple[Lane, Batch] | None:
        """Wait until a lane has a batch; None when the engine stops."""
        with self._changed:
            while not self._stopping:
                now = time.perf_counter()
                for turn, lane in enumerate(self._lanes):
                    batch = lane.scheduler.take(now)
                    if batch:
                        self._lanes.append(self._lanes.pop(turn))
                        return lane, batch
                pauses = (lane.scheduler.pause(now) for lane in self._lanes)
                self._changed.wait(min((pause for pause in pauses if pause is not None), default=None))
        return None

    def _run_batch(self, lane: Lane, batch: Batch) -> None:
        outcomes: Sequence[Outcome]
        try:
            outcomes = self._runner.run(lane, batch)
        except Exception:
            # The runner contains what a sample or a step can do; what is left is our own mistake. The thread lives on:
            # without it every stream would wait for ever.
            log.exception("bundle %s: a batch of %d is lost", lane.name, len(batch))
            reason = "the cloud failed computing"
            outcomes = [Failed(entry.item, RejectionCode.INTERNAL, reason) for entry in batch]
        with self._changed:
            for outcome, entry in zip(outcomes, batch, strict=True):
                if isinstance(outcome, Failed):
                    lane.scheduler.drop(entry.sample)
            lane.scheduler.finish(batch, time.perf_counter())
            waiting = len(lane.scheduler)
        self._deliver(outcomes)
        self._metrics.set("neucodex_cloud_queue_length", waiting, bundle=lane.name)
