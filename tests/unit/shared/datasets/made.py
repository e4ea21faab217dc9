"""Recordings made for tests."""

from __future__ import annotations

import numpy as np

from shared.datasets.event_collector import make_events
from shared.datasets.event_type import Events


def made(count: int = 2000, side: int = 34, seconds: float = 0.3, seed: int = 0) -> Events:
    """Events all over a square sensor, in order of time, the first at 0."""
    chance = np.random.default_rng(seed)
    t = np.sort(chance.integers(0, int(seconds * 1e6), count))
    return make_events(*chance.integers(0, side, (2, count)), chance.integers(0, 2, count), t - t[0])


def same(one: Events, other: Events) -> None:
    """They are the same events, at the same times after the first."""
    for name in ("x", "y", "polarity"):
        np.testing.assert_array_equal(one[name], other[name], name)
    np.testing.assert_array_equal(one["t"] - one["t"][0], other["t"] - other["t"][0], "t")
