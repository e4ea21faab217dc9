"""Decides which frames are stepped together next. Pure: no torch, no gRPC, no clock; the caller passes the time in.

The frames of a sample queue in order, and only the first of them can be *ready*. The next one becomes ready when the
batch with the one before is finished, so no batch ever has two timesteps of one sample. Owners take turns, and in an
owner's turn its streams do: each turn takes the oldest ready sample of one stream. If every owner has one ready sample,
the oldest goes first. An owner that floods the queue, by however many streams, waits one round of turns for each
further sample.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from cloud_server.shares import has_room

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, eq=False)
class Queued(Generic[T]):
    """One frame that waits.

    Attributes:
        owner, stream, sample: whose frame it is.
        item: what the engine needs to step it.
        arrived: when it was submitted, in seconds of the caller's clock.
    """

    owner: Hashable
    stream: Hashable
    sample: Hashable
    item: T
    arrived: float


@dataclass(eq=False)
class _SampleQueue(Generic[T]):
    owner: Hashable
    stream: Hashable
    waiting: deque[Queued[T]] = field(default_factory=deque)
    running: Queued[T] | None = None


class Scheduler(Generic[T]):
    """The queue of one bundle.

    Args:
        max_batch: most frames of a batch.
        max_waiting: most frames that may wait; `submit` refuses more.
        max_wait: seconds that a batch that is not full waits for more frames; 0 never waits.

    Attributes:
        waiting: how many frames wait, ready or not. Those of a running batch do not count.
    """

    def __init__(self, max_batch: int, max_waiting: int, max_wait: float = 0.0) -> None:
        if max_batch < 1 or max_waiting < 1 or max_wait < 0.0:
            raise ValueError(f"max_batch {max_batch}, max_waiting {max_waiting}, max_wait {max_wait}")
        self.max_batch = max_batch
        self.max_waiting = max_waiting
        self.max_wait = max_wait
        self._samples: dict[Hashable, _SampleQueue[T]] = {}
        self._turns: OrderedDict[Hashable, OrderedDict[Hashable, OrderedDict[Hashable, None]]] = OrderedDict()
        """The owners that have ready samples, in the order of their turns; of each its streams in theirs, and of each
        stream its ready samples."""
        self._ready_since: OrderedDict[Hashable, float] = OrderedDict()
        self._waiting_of: Counter[Hashable] = Counter()
        """How many frames of each owner wait. An owner without any has no entry."""
        self.waiting = 0

    @property
    def ready(self) -> int:
        """How many samples could have a frame in the next batch."""
        return len(self._ready_since)

    def has_room(self, owner: Hashable) -> bool:
        """Whether an owner may begin one more sample: it has not used up its share of the queue."""
        return has_room(self._waiting_of.get(owner, 0), self.max_waiting - self.waiting)

    def submit(self, owner: Hashable, stream: Hashable, sample: Hashable, item: T, now: float) -> bool:
        """Queue the next frame of a sample.

        Args:
            owner: who gets a turn for it.
            stream: the owner's stream that sent it.
            sample: different from every other sample's, also on other streams.
            item: what the engine needs to step it.
            now: the time, in seconds.

        Returns:
            False if the queue is full; then nothing changed.
        """
        if self.waiting >= self.max_waiting:
            return False
        queue = self._samples.get(sample)
        if queue is None:
            queue = self._samples[sample] = _SampleQueue(owner, stream)
        queue.waiting.append(Queued(owner, stream, sample, item, now))
        self._count(owner, 1)
        if queue.running is None and len(queue.waiting) == 1:
            self._make_ready(sample, queue, now)
        return True

    def take(self, now: float) -> tuple[Queued[T], ...]:
        """Take the next batch; empty if nothing is ready, or if the batch still waits for more frames.

        Its samples are *running* until `finish` is called with the batch.
        """
        wait = self.wait_time(now)
        if wait is None or wait > 0.0:
            return ()
        batch: list[Queued[T]] = []
        while self._turns and len(batch) < self.max_batch:
            owner, streams = self._turns.popitem(last=False)
            stream, samples = streams.popitem(last=False)
            sample, _ = samples.popitem(last=False)
            if samples:
                streams[stream] = samples  # at the end: the other streams have their turn first
            if streams:
                self._turns[owner] = streams
            del self._ready_since[sample]
            queue = self._samples[sample]
            queue.running = queue.waiting.popleft()
            self._count(owner, -1)
            batch.append(queue.running)
        return tuple(batch)

    def upcoming(self, running: Iterable[Queued[T]] = ()) -> list[Queued[T]]:
        """Up to `max_batch` frames that the next `take` may return, in its order. Changes nothing.

        Args:
            running: the batch that runs; the next frames of its samples come last.
        """
        ready = _in_turn(_in_turn(map(iter, streams.values())) for streams in self._turns.values())
        found = [self._samples[sample].waiting[0] for sample in islice(ready, self.max_batch)]
        for entry in running:
            queue = self._samples.get(entry.sample)
            if queue is not None and queue.running is entry and queue.waiting:
                found.append(queue.waiting[0])
        return found[: self.max_batch]

    def finish(self, batch: Iterable[Queued[T]], now: float) -> None:
        """End a batch from `take`, whether it succeeded or not: the next frames of its samples become ready."""
        for entry in batch:
            queue = self._samples.get(entry.sample)
            if queue is None or queue.running is not entry:
                continue  # it was dropped while it ran
            queue.running = None
            if queue.waiting:
                self._make_ready(entry.sample, queue, now)
            else:
                del self._samples[entry.sample]

    def drop(self, sample: Hashable) -> int:
        """Forget a sample and its waiting frames. A frame that runs is not stopped.

        Returns:
            How many waiting frames were dropped.
        """
        queue = self._samples.pop(sample, None)
        if queue is None:
            return 0
        self._count(queue.owner, -len(queue.waiting))
        if self._ready_since.pop(sample, None) is not None:
            streams = self._turns[queue.owner]
            del streams[queue.stream][sample]
            if not streams[queue.stream]:
                del streams[queue.stream]
            if not streams:
                del self._turns[queue.owner]
        return len(queue.waiting)

    def wait_time(self, now: float) -> float | None:
        """Seconds until `take` returns a batch if no more frames come: 0 for now, None for never."""
        if not self._ready_since:
            return None
        if len(self._ready_since) >= self.max_batch:
            return 0.0
        oldest = next(iter(self._ready_since.values()))
        return max(0.0, oldest + self.max_wait - now)

    def _count(self, owner: Hashable, frames: int) -> None:
        self.waiting += frames
        self._waiting_of[owner] += frames
        if not self._waiting_of[owner]:
            del self._waiting_of[owner]

    def _make_ready(self, sample: Hashable, queue: _SampleQueue[T], now: float) -> None:
        self._ready_since[sample] = now
        streams = self._turns.setdefault(queue.owner, OrderedDict())
        streams.setdefault(queue.stream, OrderedDict())[sample] = None


def _in_turn(queues: Iterable[Iterator[U]]) -> Iterator[U]:
    """Take one item of each queue in turn, until all are empty."""
    turns = deque(queues)
    while turns:
        queue = turns.popleft()
        for item in islice(queue, 1):
            yield item
            turns.append(queue)
