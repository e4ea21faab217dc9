"""Sources around sources: the same input several times, and at most a number of samples a second."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from edge_client.inference.sample import Sample
from edge_client.inputs.base import Item, Source
from shared.metrics import Metrics


class Repeated(Source):
    """What `open_one` opens, `passes` times, or without end with 0. Names come again, ids count on."""

    def __init__(self, open_one: Callable[[], Source], passes: int) -> None:
        self._open_one = open_one
        self._passes = passes
        self._now = open_one()
        self._before: Counter[str] = Counter()
        """What happened in the streams of earlier passes."""
        self._metrics: Metrics | None = None
        self._closed = False
        self.simulated = self._now.simulated
        self.count = self._now.count * passes if self._now.count is not None and passes else None

    def __iter__(self) -> Iterator[Item]:
        number, done = 0, 0
        while not self._closed:
            before = number
            for item in self._now:
                yield replace(item, id=number) if isinstance(item, Sample) else item
                number += 1
            done += 1
            # A pass may be empty because all its samples were done before. A pass over nothing would never end.
            if done == self._passes or (number == before and not self._now.count):
                return
            self._before.update(self._now.stream_counts() or {})
            self._now = self._open_one()
            if self._metrics is not None:
                self._now.observe(self._metrics)

    def close(self) -> None:
        self._closed = True
        self._now.close()

    def observe(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._now.observe(metrics)

    def stream_counts(self) -> Mapping[str, int] | None:
        counts = self._now.stream_counts()
        return None if counts is None else {what: count + self._before[what] for what, count in counts.items()}


class Paced(Source):
    """Another source's samples, at most `rate` a second. One that was late does not hurry the next ones."""

    def __init__(self, source: Source, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._gap = 1.0 / rate
        self._clock = clock
        self._closed = threading.Event()
        self.count = source.count
        self.simulated = source.simulated
        self.read_ahead = source.read_ahead

    def __iter__(self) -> Iterator[Item]:
        items, due = iter(self._source), self._clock()
        # The pause comes first: a camera's frame is not to wait once it is taken.
        while not self._closed.wait(max(0.0, due - self._clock())):
            try:
                yield next(items)
            except StopIteration:
                return
            due = max(due + self._gap, self._clock())

    def close(self) -> None:
        self._closed.set()
        self._source.close()

    def observe(self, metrics: Metrics) -> None:
        self._source.observe(metrics)

    def stream_counts(self) -> Mapping[str, int] | None:
        return self._source.stream_counts()
