"""One metrics page for several processes: the sums of their metrics, and the system's figures of each process."""

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

ATTEMPTS = 20
PAUSE_S = 0.01


class JointMetrics(Collector):
    """The sums over the metrics files of all processes; register it with a registry.

    Each process counts in its own files, and prometheus_client reads all of them. It fails on a file that was just
    created and is still empty, or holds half an entry. This class then reads again, so that the scrape does not fail.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        self._collector = MultiProcessCollector(None, path=str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        """The metrics of all processes.

        Raises:
            struct.error, ValueError: a file stays incomplete.
        """
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(struct.error, ValueError):
                return self._read()
            time.sleep(PAUSE_S)
        return self._read()

    def _read(self) -> list[Metric]:
        return list(self._collector.collect())  # type: ignore[no-untyped-call]


class ProcessMetrics(Collector):
    """Memory, CPU time and open files of each process: prometheus_client's ProcessCollector with a label `process`.

    They are not summed: a sum of CPU times would fall when a process is replaced.

    Args:
        pids: returns the running processes by the value of the label.
    """

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        """The figures of now. A process that has just ended has none."""
        families: dict[str, Metric] = {}
        for process, pid in self._pids().items():
            for one in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                family = families.setdefault(one.name, Metric(one.name, one.documentation, one.type))
                for sample in one.samples:
                    family.add_sample(sample.name, {"process": process}, sample.value)
        return families.values()
