"""One metrics page of several processes, whole even while one of them begins.

Each process counts in files of its own, which prometheus_client reads together. It does not expect to meet a file that
was made this moment and is still empty, or half of an entry; here one looks again instead of failing the scrape.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

LOOKS = 20
PAUSE_S = 0.01


class JointMetrics(Collector):
    """The sums over all files in `folder`; to be registered with a registry."""

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
