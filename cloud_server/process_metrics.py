"""What the system knows of several processes, on one metrics page: memory, CPU time, open files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from prometheus_client import Metric, ProcessCollector
from prometheus_client.registry import Collector


class ProcessMetrics(Collector):
    """The families of prometheus_client's ProcessCollector, each once, with a label `process`.

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
