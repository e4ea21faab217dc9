"""What load measurements come down to: rates, shares, percentiles. Pure: no process, no clock, no gRPC in here."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUND_TRIP, QUEUE, COMPUTE, BATCH = range(4)
"""Columns of `Load.rows`."""


@dataclass(frozen=True)
class Load:
    """What load generators saw in a window of time.

    Attributes:
        seconds: the window's length.
        rows: one for each step result that came in it, int64 [results, 4]: round trip, queue wait and compute time in
            microseconds (the last two as the cloud reports them), and the size of its batch.
        rejections: samples that the cloud gave up.
        cpu_seconds: of each generator process in the window.
    """

    seconds: float
    rows: NDArray[np.int64]
    rejections: int = 0
    cpu_seconds: tuple[float, ...] = ()

    @property
    def steps_per_second(self) -> float:
        """Step results a second."""
        return len(self.rows) / self.seconds

    @property
    def generator_share(self) -> float:
        """Cores that the busiest generator process used: near 1 it is the bottleneck, for it has one event loop."""
        return max(self.cpu_seconds, default=0.0) / self.seconds

    def batches(self) -> dict[int, float]:
        """How many batches of each size were run: a batch of B samples gives B results that say so."""
        sizes, results = np.unique(self.rows[:, BATCH], return_counts=True)
        return {int(size): float(count) / int(size) for size, count in zip(sizes, results, strict=True)}

    def mean_batch(self) -> float:
        """Samples in a batch on average over the batches; 0 if there was none."""
        batches = sum(self.batches().values())
        return len(self.rows) / batches if batches else 0.0


def merge(loads: Sequence[Load]) -> Load:
    """What several generators saw in the same window."""
    return Load(
        loads[0].seconds,
        np.concatenate([load.rows for load in loads]),
        sum(load.rejections for load in loads),
        tuple(share for load in loads for share in load.cpu_seconds),
    )


def summarize(values: Iterable[float], digits: int = 3) -> dict[str, Any]:
    """Median, extremes and all values of repeated measurements."""
    kept = [round(value, digits) for value in values]
    return {"median": round(statistics.median(kept), digits), "min": min(kept), "max": max(kept), "all": kept}


def percentiles(values: NDArray[Any], digits: int = 0) -> dict[str, float] | None:
    """The 50th, 90th and 99th percentile and the largest; None of nothing."""
    if not len(values):
        return None
    points = np.percentile(values, (50, 90, 99, 100))
    return dict(zip(("p50", "p90", "p99", "max"), (round(float(point), digits) for point in points), strict=True))


def shares(streams: int, generators: int) -> list[int]:
    """Streams for each generator process, as even as can be; a process without streams is left out."""
    each, more = divmod(streams, generators)
    return [each + (number < more) for number in range(generators) if each + (number < more)]


def stage_means(
    before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """Mean microseconds of every stage between two looks at a histogram's (sum in seconds, count)."""
    means = {}
    for stage, (total, count) in after.items():
        old_total, old_count = before.get(stage, (0.0, 0.0))
        if count > old_count:
            means[stage] = round((total - old_total) / (count - old_count) * 1e6, 1)
    return means
