"""How many threads are taken, given what was measured."""

from __future__ import annotations

import pytest

from cloud_server.engine.threads import choose_threads, fewest_that_pay, numbers_to_try, usable_cores


@pytest.mark.parametrize(
    ("cores", "numbers"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_numbers_to_try(cores: int, numbers: list[int]) -> None:
    assert numbers_to_try(cores) == numbers


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({1: 1.0}, 1),
        ({1: 1.0, 2: 0.5, 4: 0.3}, 4),
        ({1: 1.0, 2: 0.95}, 1),
        ({1: 1.0, 2: 0.6, 4: 0.58, 8: 0.9}, 2),
        ({1: 1.0, 2: 1.1, 4: 0.5}, 4),
    ],
)
def test_more_threads_must_pay(seconds: dict[int, float], chosen: int) -> None:
    assert fewest_that_pay(seconds) == chosen


def test_every_number_is_measured_with_so_many_threads() -> None:
    used, seen = [0], set[int]()

    def step() -> float:
        seen.add(used[-1])
        return 1.0

    assert choose_threads(used.append, step) == 1, "none pays"
    assert seen == set(numbers_to_try(usable_cores()))


def test_the_fastest_number_of_threads_is_chosen() -> None:
    used = [0]
    assert choose_threads(used.append, lambda: 2.0 ** -used[-1]) == usable_cores()
