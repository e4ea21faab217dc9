"""How many CPU threads a step is run with: measured, for more are not always faster, and others need cores too."""

from __future__ import annotations

import logging
import os
import statistics
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

TRIALS = 3
WORTH_IT = 0.9
"""More threads are taken only if a step then needs at most this part of the time."""


def usable_cores() -> int:
    """Cores that this process may run on: fewer than the machine has, where a container or taskset says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_threads(use_threads: Callable[[int], None], step: Callable[[], float]) -> int:
    """Try numbers of threads, in the thread that calls this.

    Args:
        use_threads: takes a number of threads for the steps that follow.
        step: runs a step, and returns the seconds it took.
    """
    seconds: dict[int, float] = {}
    for threads in numbers_to_try(usable_cores()):
        use_threads(threads)
        step()
        seconds[threads] = statistics.median(step() for _ in range(TRIALS))
    chosen = fewest_that_pay(seconds)
    measured = ", ".join(f"{threads}: {taken * 1000:.1f} ms" for threads, taken in seconds.items())
    log.info("%d threads for a step (measured: %s); --threads says otherwise", chosen, measured)
    return chosen


def numbers_to_try(cores: int) -> list[int]:
    """1, 2, 4... up to the cores."""
    numbers = [1]
    while numbers[-1] * 2 <= cores:
        numbers.append(numbers[-1] * 2)
    return numbers if numbers[-1] == cores else [*numbers, cores]


def fewest_that_pay(seconds: Mapping[int, float]) -> int:
    """The number of threads, of those measured in rising order, beyond which more do not pay."""
    chosen, *others = seconds
    for threads in others:
        if seconds[threads] <= WORTH_IT * seconds[chosen]:
            chosen = threads
    return chosen
