"""The one owner of the accelerator: a thread that steps one batch after the other, of all bundles.

Beside it goes a second thread, so that a step is followed by a step: while a batch runs, the helper tells the streams
what the one before it gave, and decodes the frames that the next one is likely to hold. A batch is composed only when
its step may begin, so nothing that runs ahead makes it smaller. With nothing else to do the engine's thread does it
all by itself: a lone stream waits for no handing over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial

from cloud_server.engine.batch_runner import BatchRunner, Stepped
from cloud_server.engine.decoder import Batch, Decoder
from cloud_server.engine.loaded_bundle import Lane
from cloud_server.engine.threads import choose_threads
from cloud_server.engine.work import Decoded, Deliver, Failed, Work
from shared.messages import RejectionCode
from shared.metrics import Metrics

log = logging.getLogger(__name__)

CHUNK = 16
"""Frames that the helper decodes before it looks anew; the engine waits for no more than these."""

BARREN = 3
"""Batches of a lane in a row that answered nothing, after which it is tried whether anything can still be stepped."""

WarmedUp = Callable[[Exception | None], None]

Broken = Callable[[Lane, Exception], None]

_OVER = object()


@dataclass
class _WarmUp:
    lane: Lane
    done: WarmedUp
    steps: Iterator[None]
    begun: bool = False


class Engine:
    """Takes batches from the lanes' schedulers in turn and runs them.

    All methods may be called from any thread. `deliver`, `broken` and `warmed_up` are called by the engine's own
    threads and must not block them: `deliver` once a batch with all of its outcomes, one call at a time and in the
    batches' order; `broken` whenever a lane was found unable to step anything.

    Args:
        threads: of a step on the CPU; None for as many as make a step of the first lane fastest.
    """

    def __init__(
        self,
        *,
        deliver: Deliver,
        broken: Broken,
        metrics: Metrics,
        threads: int | None = None,
    ) -> None:
        self._lanes: list[Lane] = []
        self._warming: deque[_WarmUp] = deque()
        self._deliver = deliver
        self._broken = broken
        self._metrics = metrics
        self._runner = BatchRunner(metrics, Decoder())
        self._threads = threads
        self._lock = threading.Lock()
        """Guards the schedulers and all that follows."""
        self._ready = threading.Condition(self._lock)
        """A lane may have a batch: for the engine's thread."""
        self._aside = threading.Condition(self._lock)
        """Something can be done while a batch runs: for the helper."""
        self._running: tuple[Lane, Batch] | None = None
        self._warms = False
        """The engine's last step was one of a warm-up."""
        self._fresh = 0
        """Frames that came since the helper was last woken."""
        self._untold: deque[Stepped] = deque()
        self._telling = False
        self._stopping = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._helper = threading.Thread(target=self._help, name="engine-helper", daemon=True)

    def start(self) -> None:
        """Begin to take batches as they come."""
        self._thread.start()
        self._helper.start()

    def stop(self) -> None:
        """Let the running batch end and deliver it, run no other, and end the threads."""
        with self._lock:
            self._stopping = True
            self._ready.notify()
        for thread in (self._thread, self._helper):
            if thread.is_alive():
                thread.join()

    def add(self, lane: Lane, warmed_up: WarmedUp) -> None:
        """Step every batch size of a lane once, between the batches of others, and then take its batches too.

        `warmed_up` is called once, with what went wrong, if anything did: then its batches are not taken.
        """
        with self._lock:
            self._warming.append(_WarmUp(lane, warmed_up, self._runner.warm_up(lane)))
            self._ready.notify()

    def remove(self, lane: Lane) -> None:
        """Take no more batches of a lane."""
        with self._lock:
            self._lanes.remove(lane)

    def submit(self, lane: Lane, stream: Hashable, sample: Hashable, work: Work) -> bool:
        """Queue the next frame of a sample; False if the lane's queue is full."""
        with self._lock:
            taken = lane.scheduler.submit(stream, sample, work, time.perf_counter())
            if self._running is None:
                self._ready.notify()
            else:
                self._fresh += 1
                if self._fresh >= CHUNK:
                    self._wake_helper()
        return taken

    def drop(self, lane: Lane, sample: Hashable) -> None:
        """Forget a sample's waiting frames; the outcome of a running one is still delivered."""
        with self._lock:
            if lane.scheduler.drop(sample):
                self._show_queue(lane)

    def _run(self) -> None:
        """The engine's thread."""
        try:
            while (job := self._next_step()) is not None:
                job()
                del job  # it holds a lane, which may be retired while this thread waits
        finally:
            with self._lock:
                self._ended = True
                self._aside.notify()

    def _next_step(self) -> Callable[[], None] | None:
        """Wait until a lane has a batch, or is to be warmed up; None when the engine stops."""
        with self._lock:
            self._running = None
            while not self._stopping:
                # In turns: neither do batches wait for a whole warm-up, nor it for a pause between them.
                self._warms = bool(self._warming) and not self._warms
                if self._warms:
                    return partial(self._warm_up, self._warming[0])
                now = time.perf_counter()
                if (job := self._next_batch(now)) is not None:
                    return job
                if not self._warming:
                    pauses = (lane.scheduler.pause(now) for lane in self._lanes)
                    self._ready.wait(min((pause for pause in pauses if pause is not None), default=None))
        return None

    def _next_batch(self, now: float) -> Callable[[], None] | None:
        for turn, lane in enumerate(self._lanes):
            if batch := lane.scheduler.take(now):
                self._lanes.append(self._lanes.pop(turn))
                return partial(self._run_batch, lane, batch)
        return None

    def _warm_up(self, warming: _WarmUp) -> None:
        """The next step of a warm-up."""
        lane, error = warming.lane, None
        try:
            if not warming.begun:
                warming.begun = True
                if self._threads is None:
                    step = partial(self._runner.trial, lane, lane.scheduler.max_batch)
                    self._threads = choose_threads(lane.tail.use_threads, step)
                lane.tail.use_threads(self._threads)
            if next(warming.steps, _OVER) is not _OVER:
                return
        except Exception as raised:
            error = raised
        with self._lock:
            self._warming.popleft()
            if error is None:
                self._lanes.append(lane)
        warming.done(error)

    def _run_batch(self, lane: Lane, batch: Batch) -> None:
        began = time.perf_counter()
        try:
            if undecoded := [entry for entry in batch if entry.item.decoded is None]:
                self._runner.decode(lane, undecoded)
            with self._lock:
                self._running = lane, batch
                if self._untold or any(len(each.scheduler) for each in self._lanes):
                    self._wake_helper()
            stepped = self._runner.step(lane, batch, began)
        except Exception:
            # The runner contains what a sample or a step can do; what is left is our own mistake. The thread lives on:
            # without it every stream would wait for ever.
            log.exception("bundle %s: a batch of %d is lost", lane.name, len(batch))
            stepped = _lost(lane, batch, began)
        with self._lock:
            for position in stepped.failed:
                lane.scheduler.drop(batch[position].sample)
            now = time.perf_counter()
            lane.scheduler.finish(batch, now)
            self._show_queue(lane)
            # Handing over pays only if another step can begin at once; and what is told must stay in order.
            busy = any(each.scheduler.pause(now) == 0.0 for each in self._lanes)
            hand_over = busy or self._telling or bool(self._untold)
            if hand_over:
                self._untold.append(stepped)
                self._aside.notify()
        if not hand_over:
            self._tell(stepped)
        lane.barren = 0 if stepped.rows else lane.barren + 1
        if lane.barren >= BARREN:
            self._try(lane)

    def _try(self, lane: Lane) -> None:
        """Tell samples that break their own steps from a lane that steps nothing any more, by a silent one of ours."""
        lane.barren = 0
        try:
            self._runner.trial(lane, 1)
        except Exception as error:
            self._broken(lane, error)

    def _tell(self, stepped: Stepped) -> None:
        lane = stepped.lane
        try:
            self._deliver(self._runner.outcomes(stepped))
        except Exception:
            log.exception("bundle %s: the answers of a batch of %d are lost", lane.name, len(stepped.batch))

    def _show_queue(self, lane: Lane) -> None:
        """With the lock, lest an older length be shown last."""
        self._metrics.set("neucodex_cloud_queue_length", len(lane.scheduler), bundle=lane.name)

    def _wake_helper(self) -> None:
        self._fresh = 0
        self._aside.notify()

    def _help(self) -> None:
        """The helper's thread: tell what is untold, then decode what comes next."""
        while (job := self._next_job()) is not None:
            job()
            del job  # as in _run

    def _next_job(self) -> Callable[[], None] | None:
        """Wait until there is something to do; None when the engine has ended and all is told."""
        with self._lock:
            self._telling = False
            while True:
                if self._untold:
                    self._telling = True
                    return partial(self._tell, self._untold.popleft())
                if self._ended:
                    return None
                if (job := self._next_decoding()) is not None:
                    return job
                self._aside.wait()

    def _next_decoding(self) -> Callable[[], None] | None:
        if self._running is None:
            return None
        running_lane, batch = self._running
        for lane in self._lanes:
            running = [e for e in batch if isinstance(e.item.decoded, Decoded)] if lane is running_lane else []
            coming = lane.scheduler.upcoming(running)
            if undecoded := [entry for entry in coming if entry.item.decoded is None]:
                return partial(self._runner.decode, lane, undecoded[:CHUNK], running)
        return None


def _lost(lane: Lane, batch: Batch, began: float) -> Stepped:
    reason = "the cloud failed computing"
    failed = {n: Failed(entry.item, RejectionCode.INTERNAL, reason) for n, entry in enumerate(batch)}
    return Stepped(lane, batch, began, failed=failed)
