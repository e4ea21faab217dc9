"""The goals of the serving benchmark, each with what was measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping
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


def targets(results: Mapping[str, Any], *, complete: bool) -> list[Goal]:
    """Goals and measurements.

    Args:
        results: as `benchmarks.serving` collects them.
        complete: whether it was a full run; a quick one proves nothing and measures no goal.
    """
    every = [
        *(_ratio(results, streams) for streams in (64, 256)),
        _gain(results),
        _overhead(results["one_stream"]),
        _queue_wait(results["offered"]),
        _crowd(results["crowd"]),
        *_same_answers(results["same_answers"]),
        _gpu(results["gpu"]),
    ]
    if complete:
        return every
    return [
        Goal(target.name, target.goal, None, target.unit, target.better, "not measured by --quick") for target in every
    ]


def _ratio(results: Mapping[str, Any], streams: int) -> Goal:
    name = f"throughput with {streams} streams over the offline limit at the same batch sizes"
    row = next((row for row in results["throughput"] if row["streams"] == streams), None)
    if row is None:
        return Goal(name, LEAST_RATIO, None, "ratio", "higher", f"--streams {streams} was not asked for")
    served, limit = (row[key]["median"] for key in ("steps_per_second", "offline_steps_per_second"))
    note = f"{served:.0f} of {limit:.0f} steps/s, mean batch {row['mean_batch']['median']}, {results['tail']}"
    return Goal(name, LEAST_RATIO, row["ratio"]["median"], "ratio", "higher", note + _generators(row))


def _gain(results: Mapping[str, Any]) -> Goal:
    alone, hardware = results["alone"], results["hardware_gain"]["median"]
    goal = round(min(LEAST_GAIN, hardware), 2)
    name = f"throughput with {COMPARED} streams over a cloud that steps each frame alone"
    if alone["streams"] != COMPARED:
        return Goal(name, goal, None, "ratio", "higher", f"--streams {COMPARED} was not asked for")
    note = f"the goal is {LEAST_GAIN:g} or the hardware's gain of batch 32 over batch 1, {hardware:.2f}, if lower"
    return Goal(name, goal, alone["gain"]["median"], "ratio", "higher", note)


def _overhead(one: Mapping[str, Any]) -> Goal:
    note = (
        f"{one['overhead_us']['p50']:.0f} us beside {one['echo_us']['p50']:.0f}; "
        f"{one['times_echo_after_a_pause']} times an echo that rested as long as the cloud's streams do"
    )
    name = "one lockstep stream, overhead over the step, times a bare grpc.aio echo"
    return Goal(name, 1.5, one["times_echo"], "ratio", "lower", note)


def _queue_wait(offered: Mapping[str, Any]) -> Goal:
    name = f"queue wait, 99th percentile, at {LOAD:.0%} of the throughput"
    waits = offered["queue_in_steps"]
    if waits is None:
        return Goal(name, 2.0, None, "tail steps", "lower", "no frame was answered")
    note = f"{offered['steps_per_second']:.0f} steps/s, a step takes {offered['step_us'] / 1000:.1f} ms"
    return Goal(name, 2.0, waits["p99"], "tail steps", "lower", note + _generators(offered))


def _crowd(crowd: Mapping[str, Any]) -> Goal:
    served = min(crowd["served"], crowd["open_at_once"])
    note = f"{crowd['streams']} opened in {crowd['seconds_to_open']} s"
    return Goal("streams open at once, all served", CROWD, served, "streams", "higher", note)


def _same_answers(same: Mapping[str, Any]) -> list[Goal]:
    note = (
        f"{same['pictures']} pictures at every timestep, mean batch {same['mean_batch_together']} "
        f"beside {same['mean_batch_alone']}"
    )
    difference = same["largest_confidence_difference"]
    flipped = f"{note}; {same['answers_that_differ']:.2%} of the answers differ by more than that"
    return [
        Goal("pictures answered otherwise than alone", 0, same["predictions_differ"], "pictures", "lower", note),
        Goal("largest difference of a confidence to that alone", TOLERANCE, difference, "of 1", "lower", flipped),
    ]


def _gpu(gpu: Mapping[str, Any] | None) -> Goal:
    name = "GPU: full-width ResNet-18 tail, 256 streams, throughput over the offline limit"
    if gpu is None:
        note = "no CUDA device here; the same command measures it where there is one"
        return Goal(name, LEAST_RATIO, None, "ratio", "higher", note)
    note = f"{gpu['steps_per_second']['median']:.0f} steps/s on {gpu['device']}" + _generators(gpu)
    return Goal(name, LEAST_RATIO, gpu["ratio"]["median"], "ratio", "higher", note)


def _generators(row: Mapping[str, Any]) -> str:
    cores = row["generator_cores"]
    warning = ", so THEY may be the limit" if cores >= BUSY_GENERATOR else ""
    return f"; busiest generator {cores:.2f} cores{warning}"
