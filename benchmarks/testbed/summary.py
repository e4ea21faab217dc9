"""From a run's columns to the figures of the record: percentiles, means, 95 % bootstrap intervals."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from benchmarks.testbed.schema import DTYPES, Columns, Figure

CONFIDENCE = 0.95
RESAMPLES = 999
NOT_FIGURES = ("sample", "label", "predicted", "answered_by", "confidence")


def figure(values: NDArray[Any], *, of_median: bool) -> Figure:
    """A column [n] as a figure; all None if no value is known.

    The interval is the percentile bootstrap's, of the median or of the mean, over the samples as they are.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return Figure(None, None, None, None, None, None)
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
    return Figure(*(round(value, 6) for value in (float(known.mean()), middle, p95, p99, low, high)))


def figures(columns: Columns) -> tuple[Figure, dict[str, Figure]]:
    """Accuracy, and a figure for each column that is a quantity; joules keep all their digits."""
    found = {}
    for each in fields(Columns):
        if each.name not in NOT_FIGURES:
            values = getattr(columns, each.name)
            scale = 1e6 if each.name.endswith("_j") else 1.0  # six decimals of microjoules
            made = figure(values.astype(np.float64) * scale, of_median=each.name.endswith("_ms"))
            found[each.name] = made if scale == 1.0 else Figure(*_scaled(made, 1 / scale))
    link = columns.link_up_bytes.astype(np.float64) + columns.link_down_bytes
    found["link_bytes"] = figure(link, of_median=False)
    assert set(DTYPES) <= {each.name for each in fields(Columns)}
    return figure(columns.right.astype(np.float64), of_median=False), found


def _scaled(made: Figure, by: float) -> list[float | None]:
    return [None if value is None else value * by for value in vars(made).values()]
