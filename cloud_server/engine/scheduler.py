"""Which frames are stepped together next. Pure: no torch, no gRPC, no clock; the caller passes the time in.

Frames of one sample queue in order and only its first may be *ready*: the next becomes ready when the batch that holds
the one before is finished, so no batch ever holds two timesteps of one sample. Ready samples of one stream are served
oldest first. Streams take turns, one sample each, in the order in which they got something ready: among streams with
one ready sample that is oldest first too, and a stream that floods waits behind everybody else for each further sample.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")

_NONE = object()


@dataclass(frozen=True, eq=False)
class Queued(Generic[Item]):
    """One frame that waits: whose it is, what the engine needs of it, and when it came."""

    stream: Hashable
    sample: Hashable
    item: Item
    arrived: float


@dataclass(eq=False)
class _Sample(Generic[Item]):
    stream: Hashable
    waiting: deque[Queued[Item]] = field(default_factory=deque)
    running: Queued[Item] | None = None


class Scheduler(Generic[Item]):
    """The queue of one bundle.

    Args:
        max_batch: no batch is larger.
        bound: no more frames than this wait; `submit` refuses what is beyond.
        max_wait: seconds for which a batch that is not full may wait for company; 0 never waits.
    """

    def __init__(self, max_batch: int, bound: int, max_wait: float = 0.0) -> None:
        if max_batch < 1 or bound < 1 or max_wait < 0.0:
            raise ValueError(f"max_batch {max_batch}, bound {bound}, max_wait {max_wait}")
        self.max_batch = max_batch
        self.bound = bound
        self.max_wait = max_wait
        self._samples: dict[Hashable, _Sample[Item]] = {}
        self._turns: OrderedDict[Hashable, OrderedDict[Hashable, None]] = OrderedDict()
        """Streams that have something ready, in the order of their turns, each with its ready samples."""
        self._ready_since: OrderedDict[Hashable, float] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        """Frames that wait, ready or not; those of a running batch do not count."""
        return self._waiting

    @property
    def ready(self) -> int:
        """Samples whose next frame could be in the next batch."""
        return len(self._ready_since)

    def submit(self, stream: Hashable, sample: Hashable, item: Item, now: float) -> bool:
        """Queue the next frame of a sample.

        `sample` must be unlike every other sample's, on whatever stream.

        Returns:
            False if the queue is full: nothing was changed.
        """
        if self._waiting >= self.bound:
            return False
        known = self._samples.get(sample)
        if known is None:
            known = self._samples[sample] = _Sample(stream)
        known.waiting.append(Queued(stream, sample, item, now))
        self._waiting += 1
        if known.running is None and len(known.waiting) == 1:
            self._make_ready(sample, known.stream, now)
        return True

    def take(self, now: float) -> tuple[Queued[Item], ...]:
        """The next batch; empty when nothing is ready, or when what is ready may still wait for company.

        Its samples are *running* until `finish` is called with it.
        """
        pause = self.pause(now)
        if pause is None or pause > 0.0:
            return ()
        batch: list[Queued[Item]] = []
        while self._turns and len(batch) < self.max_batch:
            stream, samples = self._turns.popitem(last=False)
            sample, _ = samples.popitem(last=False)
            if samples:
                self._turns[stream] = samples  # to the end: the others have their turn first
            del self._ready_since[sample]
            owner = self._samples[sample]
            owner.running = owner.waiting.popleft()
            batch.append(owner.running)
        self._waiting -= len(batch)
        return tuple(batch)

    def upcoming(self, running: Iterable[Queued[Item]] = ()) -> list[Queued[Item]]:
        """Up to `max_batch` frames that the next `take` may give, in its order; nothing is changed.

        Args:
            running: a batch under way; the frames that follow it in its samples come last.
        """
        found: list[Queued[Item]] = []
        turns = [iter(samples) for samples in islice(self._turns.values(), self.max_batch)]
        while turns and len(found) < self.max_batch:
            chosen = [(turn, sample) for turn in turns if (sample := next(turn, _NONE)) is not _NONE]
            found += [self._samples[sample].waiting[0] for _, sample in chosen]
            turns = [turn for turn, _ in chosen]
        for entry in running:
            owner = self._samples.get(entry.sample)
            if owner is not None and owner.running is entry and owner.waiting:
                found.append(owner.waiting[0])
        return found[: self.max_batch]

    def finish(self, batch: Iterable[Queued[Item]], now: float) -> None:
        """A batch from `take` is done, well or not: the next frames of its samples become ready."""
        for entry in batch:
            owner = self._samples.get(entry.sample)
            if owner is None or owner.running is not entry:
                continue  # dropped while it ran
            owner.running = None
            if owner.waiting:
                self._make_ready(entry.sample, owner.stream, now)
            else:
                del self._samples[entry.sample]

    def drop(self, sample: Hashable) -> int:
        """Forget a sample and what it has waiting; a frame of it that runs is not stopped.

        Returns:
            How many waiting frames were dropped.
        """
        owner = self._samples.pop(sample, None)
        if owner is None:
            return 0
        self._waiting -= len(owner.waiting)
        if self._ready_since.pop(sample, None) is not None:
            samples = self._turns[owner.stream]
            del samples[sample]
            if not samples:
                del self._turns[owner.stream]
        return len(owner.waiting)

    def pause(self, now: float) -> float | None:
        """Seconds until `take` gives a batch if nothing else comes: 0 now, None never."""
        if not self._ready_since:
            return None
        if len(self._ready_since) >= self.max_batch:
            return 0.0
        oldest = next(iter(self._ready_since.values()))
        return max(0.0, oldest + self.max_wait - now)

    def _make_ready(self, sample: Hashable, stream: Hashable, now: float) -> None:
        self._ready_since[sample] = now
        self._turns.setdefault(stream, OrderedDict())[sample] = None
