"""The engine: a thread that owns the device and steps one batch after the other, of all bundles.

A second thread, the helper, keeps the device busy: while a batch runs, it delivers the outcomes of the batch before and
decodes the frames that the next batch is likely to contain. A batch is composed only when its step can begin, so
working ahead never makes a batch smaller. With nothing else to do the engine's thread does all the work alone, so a
single stream has no thread switches.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial

from cloud_server.engine.batch_runner import STAGE, BatchResult, BatchRunner
from cloud_server.engine.decoder import Decoder, FrameBatch
from cloud_server.engine.loaded_bundle import LoadedBundle
from cloud_server.engine.requests import Deliver, StepRequest
from cloud_server.engine.threads import choose_threads
from cloud_server.tails.base import DecodedFrame
from shared.metrics import Metrics

log = logging.getLogger(__name__)

MEASURED_BATCH = 8
"""Samples of the steps that are measured to choose a number of threads: more would take seconds of the start."""

DECODE_CHUNK = 16
"""Frames that the helper decodes at once. The engine's thread never waits for more than these."""

MAX_FAILED_BATCHES = 3
"""Batches of a bundle in a row that answered no frame, before the engine tests whether a step still succeeds."""

WarmedUp = Callable[[Exception | None], None]

OnBroken = Callable[[LoadedBundle, Exception], None]

_DONE = object()


@dataclass
class _WarmUp:
    runner: BatchRunner
    done: WarmedUp
    steps: Iterator[None]
    begun: bool = False


class Engine:
    """Takes batches from the bundles' schedulers in turn and runs them.

    Any thread may call the methods. The engine's own threads call `deliver`, `on_broken` and `warmed_up`, which must
    not block.

    Args:
        deliver: called once a batch with all of its outcomes, one call at a time and in the order of the batches.
        on_broken: called when a bundle cannot be stepped any more.
        metrics: of the process.
        threads: CPU threads of a step; None for the number with which the first bundle's steps are fastest.
    """

    def __init__(
        self,
        *,
        deliver: Deliver,
        on_broken: OnBroken,
        metrics: Metrics,
        threads: int | None = None,
    ) -> None:
        self._bundles: dict[LoadedBundle, BatchRunner] = {}
        """In the order in which they are asked for their next batch."""
        self._warming: deque[_WarmUp] = deque()
        self._deliver = deliver
        self._on_broken = on_broken
        self._metrics = metrics
        self._decoder = Decoder()
        self._threads = threads
        self._lock = threading.Lock()
        """Guards the schedulers and all fields that follow."""
        self._wake_engine = threading.Condition(self._lock)
        """Notified when a bundle may have a batch."""
        self._wake_helper = threading.Condition(self._lock)
        """Notified when there is work for the helper."""
        self._running: tuple[LoadedBundle, FrameBatch] | None = None
        self._last_was_warm_up = False
        """The engine's last step belonged to a warm-up."""
        self._new_frames = 0
        """Frames submitted since the helper was last notified of new frames."""
        self._undelivered: deque[tuple[BatchRunner, BatchResult]] = deque()
        self._helper_delivers = False
        self._stopping = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._helper = threading.Thread(target=self._run_helper, name="engine-helper", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._thread.start()
        self._helper.start()

    def stop(self) -> None:
        """Let the running batch end and deliver its outcomes, run no other, and end the threads."""
        with self._lock:
            self._stopping = True
            self._wake_engine.notify()
        for thread in (self._thread, self._helper):
            if thread.is_alive():
                thread.join()

    def add(self, loaded: LoadedBundle, warmed_up: WarmedUp) -> None:
        """Step every batch size of a bundle once, between the batches of other bundles, and then take its batches too.

        Args:
            loaded: the bundle.
            warmed_up: called once, with None or with the error that a step raised. After an error the bundle's batches
                are not taken.
        """
        runner = BatchRunner(loaded, self._metrics)
        with self._lock:
            self._warming.append(_WarmUp(runner, warmed_up, runner.warm_up()))
            self._wake_engine.notify()

    def remove(self, loaded: LoadedBundle) -> None:
        """Take no more batches of a bundle."""
        with self._lock:
            del self._bundles[loaded]

    def submit(
        self, loaded: LoadedBundle, owner: Hashable, stream: Hashable, sample: Hashable, request: StepRequest
    ) -> bool:
        """Queue the next frame of a sample.

        Args:
            loaded: the bundle of the stream.
            owner: who gets a turn for it, with all of its streams.
            stream: different for every stream.
            sample: different for every sample, also of other streams.
            request: the frame.

        Returns:
            False if the bundle's queue is full.
        """
        with self._lock:
            accepted = loaded.scheduler.submit(owner, stream, sample, request, time.perf_counter())
            if self._running is None:
                self._wake_engine.notify()
            else:
                self._new_frames += 1
                if self._new_frames >= DECODE_CHUNK:
                    self._notify_helper()
        return accepted

    def drop(self, loaded: LoadedBundle, sample: Hashable) -> None:
        """Forget a sample's waiting frames. The outcome of a frame that runs is still delivered."""
        with self._lock:
            loaded.scheduler.drop(sample)

    def retry_after_ms(self, loaded: LoadedBundle) -> int:
        """When a slot of a bundle may be free again, in milliseconds."""
        with self._lock:
            return self._bundles[loaded].retry_after_ms()

    def _run(self) -> None:
        """The engine's thread."""
        try:
            while (job := self._next_job()) is not None:
                job()
                del job  # it refers to a bundle, which may be retired while this thread waits
        finally:
            with self._lock:
                self._ended = True
                self._wake_helper.notify()

    def _next_job(self) -> Callable[[], None] | None:
        """Wait until there is a batch or a warm-up step to run; None when the engine stops."""
        with self._lock:
            self._running = None
            while not self._stopping:
                # They take turns: no batch waits for a whole warm-up, and no warm-up for a pause between batches.
                self._last_was_warm_up = bool(self._warming) and not self._last_was_warm_up
                if self._last_was_warm_up:
                    return partial(self._warm_up, self._warming[0])
                now = time.perf_counter()
                if (job := self._next_batch(now)) is not None:
                    return job
                if not self._warming:
                    waiting = (loaded.scheduler for loaded in self._bundles if loaded.scheduler.waiting)
                    waits = (scheduler.wait_time(now) for scheduler in waiting)
                    self._wake_engine.wait(min((wait for wait in waits if wait is not None), default=None))
        return None

    def _next_batch(self, now: float) -> Callable[[], None] | None:
        for loaded, runner in self._bundles.items():
            if loaded.scheduler.waiting and (batch := loaded.scheduler.take(now)):
                self._bundles[loaded] = self._bundles.pop(loaded)  # to the end: the others come first next time
                return partial(self._run_batch, runner, batch)
        return None

    def _warm_up(self, warming: _WarmUp) -> None:
        """Run the next step of a warm-up."""
        error: Exception | None = None
        try:
            if not warming.begun:
                warming.begun = True
                self._use_threads(warming.runner)
            if next(warming.steps, _DONE) is not _DONE:
                return
        except Exception as raised:
            error = raised
        with self._lock:
            self._warming.popleft()
            if error is None:
                self._bundles[warming.runner.loaded] = warming.runner
        warming.done(error)

    def _use_threads(self, runner: BatchRunner) -> None:
        """Set the number of threads of a bundle's steps; measure it if none was chosen yet."""
        loaded = runner.loaded
        if self._threads is None:
            step = partial(runner.run_silent_step, min(MEASURED_BATCH, loaded.scheduler.max_batch))
            self._threads = choose_threads(loaded.tail.use_threads, step)
        loaded.tail.use_threads(self._threads)

    def _run_batch(self, runner: BatchRunner, batch: FrameBatch) -> None:
        loaded, began = runner.loaded, time.perf_counter()
        try:
            undecoded = [entry for entry in batch if entry.item.decoded is None]
            decoding = [("decode", self._decoder.decode(loaded, undecoded))] if undecoded else []
            with self._lock:
                self._running = loaded, batch
                if self._undelivered or self._frames_wait():
                    self._notify_helper()
            result = runner.step(batch, began)
            result.stages += decoding
        except Exception:
            # The runner handles every failure of a sample or a step, so this is a bug in our code. The thread goes on,
            # because without it every stream would wait without end.
            log.exception("bundle %s: a batch of %d is lost", loaded.name, len(batch))
            result = runner.give_up(batch, began)
        self._finish(runner, result)
        if runner.failed_in_a_row >= MAX_FAILED_BATCHES:
            runner.failed_in_a_row = 0
            self._test_bundle(runner)

    def _finish(self, runner: BatchRunner, result: BatchResult) -> None:
        """Make the next frames of the batch's samples ready, and deliver the outcomes here or by the helper."""
        scheduler = runner.loaded.scheduler
        with self._lock:
            for position in result.failed:
                scheduler.drop(result.batch[position].sample)
            scheduler.finish(result.batch, time.perf_counter())
            # The helper saves time only if another step follows. Outcomes are delivered in order.
            hand_over = self._frames_wait() or self._helper_delivers or bool(self._undelivered)
            if hand_over:
                self._undelivered.append((runner, result))
                self._wake_helper.notify()
        if not hand_over:
            self._deliver_outcomes(runner, result)

    def _test_bundle(self, runner: BatchRunner) -> None:
        """Step a sample without spikes: it tells a bundle that fails from samples that make their own steps fail."""
        try:
            runner.run_silent_step(1)
        except Exception as error:
            self._on_broken(runner.loaded, error)

    def _deliver_outcomes(self, runner: BatchRunner, result: BatchResult) -> None:
        try:
            self._deliver(runner.outcomes(result))
        except Exception:
            log.exception("bundle %s: the answers of a batch of %d are lost", runner.loaded.name, len(result.batch))

    def _frames_wait(self) -> bool:
        """Whether a frame of any bundle waits for a batch. Call it with the lock."""
        return any(loaded.scheduler.waiting for loaded in self._bundles)

    def _notify_helper(self) -> None:
        self._new_frames = 0
        self._wake_helper.notify()

    def _run_helper(self) -> None:
        """The helper's thread."""
        while (job := self._next_helper_job()) is not None:
            job()
            del job  # as in _run

    def _next_helper_job(self) -> Callable[[], None] | None:
        """Wait for outcomes to deliver, or frames to decode; None when the engine has ended and all is delivered."""
        with self._lock:
            self._helper_delivers = False
            while True:
                if self._undelivered:
                    self._helper_delivers = True
                    return partial(self._deliver_outcomes, *self._undelivered.popleft())
                if self._ended:
                    return None
                if (job := self._next_decoding()) is not None:
                    return job
                self._wake_helper.wait()

    def _next_decoding(self) -> Callable[[], None] | None:
        if self._running is None:
            return None
        running_bundle, batch = self._running
        for loaded in self._bundles:
            running = [e for e in batch if isinstance(e.item.decoded, DecodedFrame)] if loaded is running_bundle else []
            coming = loaded.scheduler.upcoming(running)
            if undecoded := [entry for entry in coming if entry.item.decoded is None]:
                return partial(self._decode_ahead, loaded, undecoded[:DECODE_CHUNK], running)
        return None

    def _decode_ahead(self, loaded: LoadedBundle, batch: FrameBatch, running: FrameBatch) -> None:
        seconds = self._decoder.decode(loaded, batch, running)
        self._metrics.observe(STAGE, seconds, stage="decode", bundle=loaded.name)
