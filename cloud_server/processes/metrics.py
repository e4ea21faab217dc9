"""One metrics page of several processes: what they count, added up, and what the system knows of each."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from prometheus_client import Metric, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

LOOKS = 20
PAUSE_S = 0.01


class JointMetrics(Collector):
    """The sums over all files in `folder`; to be registered with a registry. Whole even while a process begins.

    Each process counts in files of its own, which prometheus_client reads together. It does not expect to meet a file
    that was made this moment and is still empty, or half of an entry; here one looks again instead of failing the
    scrape.
    """

    def __init__(self, folder: Path) -> None:
        self._collector = MultiProcessCollector(None, path=str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        """What is counted.

        Raises:
            struct.error, ValueError: a file stays half written.
        """
        for _ in range(LOOKS - 1):
            with contextlib.suppress(struct.error, ValueError):
                return self._look()
            time.sleep(PAUSE_S)
        return self._look()

    def _look(self) -> list[Metric]:
        return list(self._collector.collect())  # type: ignore[no-untyped-call]


class ProcessMetrics(Collector):
    """Memory, CPU time, open files: the families of prometheus_client's ProcessCollector, each once, with a label
    `process`.

    They are not added up: a sum of CPU times would fall when one of the processes is replaced.

    Args:
        pids: tells who lives now, by the label's value.
    """

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        """What is true now; nothing of a process that has just ended."""
        families: dict[str, Metric] = {}
        for process, pid in self._pids().items():
            for one in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                family = families.setdefault(one.name, Metric(one.name, one.documentation, one.type))
                for sample in one.samples:
                    family.add_sample(sample.name, {"process": process}, sample.value)
        return families.values()
