"""The goals of the serving benchmark, each with what was measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.record import Goal

LOAD = 0.7
"""Part of the measured throughput at which the queue wait is looked at."""

LEAST_RATIO = 0.85
LEAST_GAIN = 4.0
CROWD = 1000
TOLERANCE = 1e-5
"""By how much confidences may differ by who else is in the batch; `--batch-invariant` keeps within it."""

COMPARED = 64
BUSY_GENERATOR = 0.9
"""Cores of one event loop from which on it, and not the cloud, may be what is measured."""


def goals(results: Mapping[str, Any], *, complete: bool) -> list[Goal]:
    """Goals and measurements.

    Args:
        results: as `benchmarks.serving` collects them.
        complete: whether it was a full run; a quick one proves nothing and measures no goal.
    """
    alone, one, crowd = results["alone"], results["one_stream"], results["crowd"]
    same, offered = results["same_answers"], results["offered"]
    hardware = results["hardware_gain"]["median"]
    step = f"a step takes {offered['step_us'] / 1000:.1f} ms" if offered["queue_in_steps"] else "no frame was answered"
    every = [
        *(_ratio(results, streams) for streams in (COMPARED, 256)),
        Goal(
            f"throughput with {COMPARED} streams over a cloud that steps each frame alone",
            round(min(LEAST_GAIN, hardware), 2),
            alone["gain"]["median"] if alone["streams"] == COMPARED else None,
            "ratio",
            "higher",
            f"the goal is {LEAST_GAIN:g} or the hardware's gain of batch 32 over batch 1, {hardware:.2f}, if lower",
        ),
        Goal(
            "one lockstep stream, overhead over the step, times a bare grpc.aio echo",
            1.5,
            one["times_echo"],
            "ratio",
            "lower",
            f"{one['overhead_us']['p50']:.0f} us beside {one['echo_us']['p50']:.0f}; "
            f"{one['times_echo_after_a_pause']} times an echo that rested as long as the cloud's streams do",
        ),
        Goal(
            f"queue wait, 99th percentile, at {LOAD:.0%} of the throughput",
            2.0,
            offered["queue_in_steps"] and offered["queue_in_steps"]["p99"],
            "tail steps",
            "lower",
            f"{offered['steps_per_second']:.0f} steps/s, {step}{_generators(offered)}",
        ),
        Goal(
            "streams open at once, all served",
            CROWD,
            min(crowd["served"], crowd["open_at_once"]),
            "streams",
            "higher",
            f"{crowd['streams']} opened in {crowd['seconds_to_open']} s",
        ),
        Goal(
            "pictures answered otherwise than alone",
            0,
            same["predictions_differ"],
            "pictures",
            "lower",
            f"{same['pictures']} pictures at every timestep, mean batch {same['mean_batch_together']}",
        ),
        Goal(
            "largest difference of a confidence to that alone",
            TOLERANCE,
            same["largest_confidence_difference"],
            "of 1",
            "lower",
            f"{same['answers_that_differ']:.2%} of the answers differ by more; with --batch-invariant none does",
        ),
    ]
    return every if complete else [replace(goal, measured=None, note="not measured by --quick") for goal in every]


def _ratio(results: Mapping[str, Any], streams: int) -> Goal:
    name = f"throughput with {streams} streams over the offline limit at the same batch sizes"
    row = next((row for row in results["throughput"] if row["streams"] == streams), None)
    if row is None:
        return Goal(name, LEAST_RATIO, None, "ratio", "higher", f"--streams {streams} was not asked for")
    served, limit = (row[key]["median"] for key in ("steps_per_second", "offline_steps_per_second"))
    note = f"{served:.0f} of {limit:.0f} steps/s, mean batch {row['mean_batch']['median']}, {results['tail']}"
    return Goal(name, LEAST_RATIO, row["ratio"]["median"], "ratio", "higher", note + _generators(row))


def _generators(row: Mapping[str, Any]) -> str:
    cores = row["generator_cores"]
    warning = ", so THEY may be the limit" if cores >= BUSY_GENERATOR else ""
    return f"; busiest generator {cores:.2f} cores{warning}"
