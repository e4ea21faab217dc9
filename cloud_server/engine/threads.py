"""Chooses the number of CPU threads of a step by measuring: more are not always faster."""

from __future__ import annotations

import logging
import os
import statistics
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

TRIALS = 3
WORTH_IT = 0.9
"""More threads are chosen only if a step then takes at most this share of the time."""


def usable_cores() -> int:
    """How many cores this process may use. A container or taskset may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_threads(use_threads: Callable[[int], None], step: Callable[[], float]) -> int:
    """Measure steps with several numbers of threads, in the calling thread, and return the best number.

    Args:
        use_threads: sets the number of threads for the following steps.
        step: runs a step, and returns the seconds that it took.
    """
    seconds: dict[int, float] = {}
    for threads in numbers_to_try(usable_cores()):
        use_threads(threads)
        step()
        seconds[threads] = statistics.median(step() for _ in range(TRIALS))
    chosen = fewest_that_pay(seconds)
    measured = ", ".join(f"{threads}: {taken * 1000:.1f} ms" for threads, taken in seconds.items())
    log.info("%d threads for a step (measured: %s); --threads overrides it", chosen, measured)
    return chosen


def numbers_to_try(cores: int) -> list[int]:
    """1, 2, 4, ... and the number of cores."""
    numbers = [1]
    while numbers[-1] * 2 <= cores:
        numbers.append(numbers[-1] * 2)
    return numbers if numbers[-1] == cores else [*numbers, cores]


def fewest_that_pay(seconds: Mapping[int, float]) -> int:
    """The number of threads beyond which more do not pay; `seconds` maps numbers, in rising order, to a step's time."""
    chosen, *others = seconds
    for threads in others:
        if seconds[threads] <= WORTH_IT * seconds[chosen]:
            chosen = threads
    return chosen
