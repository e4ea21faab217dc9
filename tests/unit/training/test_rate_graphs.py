"""Which graphs of the rate execution a bundle gets."""

from __future__ import annotations

import numpy as np
import pytest

from training.rate_graphs import costs_too_much


@pytest.mark.parametrize(
    ("samples", "lost", "won", "too_much"),
    [
        (10_000, 10, 0, False),  # 0.1 point
        (10_000, 40, 0, True),
        (10_000, 100, 90, False),
        (10_000, 300, 250, True),
        (700, 3, 1, False),  # of so few samples two are chance
        (700, 16, 4, True),
        (700, 0, 9, False),
    ],
)
def test_a_loss_counts_beyond_a_tenth_of_a_point_and_chance(samples: int, lost: int, won: int, too_much: bool) -> None:
    plain, integer = np.ones(samples, bool), np.ones(samples, bool)
    integer[:lost] = False
    plain[lost : lost + won] = False
    assert costs_too_much(plain, integer) is too_much
