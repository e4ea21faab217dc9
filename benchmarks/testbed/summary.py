"""From a run's columns to the figures of the record: percentiles, means, 95 % bootstrap intervals."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from benchmarks.testbed.schema import UNKNOWN, Columns, Figure

CONFIDENCE = 0.95
RESAMPLES = 999
NOT_FIGURES = ("sample", "label", "predicted", "answered_by", "confidence")


def figure(values: NDArray[Any], *, of_median: bool) -> Figure:
    """A column [n] as a figure; all None if no value is known.

    The interval is the percentile bootstrap's, of the median or of the mean, over the samples as they are.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return UNKNOWN
    middle, p95, p99 = (float(value) for value in np.percentile(known, (50, 95, 99)))
    low = high = float(np.median(known) if of_median else known.mean())
    if len(known) > 1 and np.ptp(known) > 0.0:
        found = bootstrap(
            (known,),
            np.median if of_median else np.mean,
            confidence_level=CONFIDENCE,
            n_resamples=RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        low, high = float(found.low), float(found.high)
    # Seven digits: joules are a millionth of a millisecond's number.
    return Figure(*(float(f"{value:.7g}") for value in (known.mean(), middle, p95, p99, low, high)))


def figures(columns: Columns) -> tuple[Figure, dict[str, Figure]]:
    """Accuracy, and a figure for each column that is a quantity."""
    quantities = {each.name: getattr(columns, each.name) for each in fields(Columns) if each.name not in NOT_FIGURES}
    quantities["link_bytes"] = columns.link_up_bytes.astype(np.float64) + columns.link_down_bytes
    found = {name: figure(values, of_median=name.endswith("_ms")) for name, values in quantities.items()}
    return figure(columns.right.astype(np.float64), of_median=False), found
