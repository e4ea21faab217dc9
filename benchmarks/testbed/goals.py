"""What the paper and this project ask of the testbed: each goal with what was measured, and the reason for it.

The paper is arXiv 2509.19156; its goals are those of its abstract, which names no machine or link: notes state ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from benchmarks.record import Goal
from benchmarks.testbed.schema import MeasuredLink, Testbed, TestbedRun
from shared.network_spec import FLOAT_BITS

PAIR, WHOLE, JPEG = "full", "edge-only", "jpeg-90"
OTHER_WAYS = ("bottleneck-exit", "full-local-first")
"""Other ways to run the pair: in lockstep, and with the local exit asked before anything is sent."""

PAPER = "paper: "
"""How the names of the paper's goals begin."""

LEAST_RTT_MS = 1.0
"""Links with a shorter round trip are those of a LAN or of loopback: no goal is set for them."""

NOT_MEASURED = "not measured in this run"
Judged = tuple[float | None, str]
"""What was measured, None if it is not known; and the reason."""


class Rule(NamedTuple):
    """A goal for the pair against another alternative, and the function that judges both runs."""

    name: str
    goal: float
    unit: str
    better: Literal["lower", "higher"]
    other: str
    judge: Callable[[Testbed, TestbedRun, TestbedRun], Judged]


def goals(found: Testbed) -> list[Goal]:
    """All goals, those of the paper first; `measured` is None where the record lacks a run."""
    runs = {alternative.name: run for alternative, run in found.main_runs()}
    pair = runs.get(PAIR)
    judged = [_judge(found, rule, pair, runs.get(rule.other)) for rule in RULES]
    links = [_over_link(found, link) for link in found.links if link.asked.rtt_ms > LEAST_RTT_MS]
    return [_bits(found), *judged, *_files(found, pair), *links]


def _judge(found: Testbed, rule: Rule, pair: TestbedRun | None, other: TestbedRun | None) -> Goal:
    measured, note = (None, NOT_MEASURED) if pair is None or other is None else rule.judge(found, pair, other)
    return Goal(rule.name, rule.goal, measured, rule.unit, rule.better, note)


def _bits(found: Testbed) -> Goal:
    network = found.networks.get("bottleneck")
    name = f"{PAPER}bits of the float32 features over those of the pair's frame, a timestep"
    if network is None:
        return Goal(name, 2048, None, "ratio", "higher", "the record has no bundle with a bottleneck")
    ratio = FLOAT_BITS * math.prod(network.split_shape) / math.prod(network.frame_shape)
    note = f"features {network.split_shape}, frame {network.frame_shape}, before the codec"
    return Goal(name, 2048, ratio, "ratio", "higher", note)


def _latency(found: Testbed, pair: TestbedRun, whole: TestbedRun) -> Judged:
    ours, theirs = pair.median("latency_ms"), whole.median("latency_ms")
    if ours is None or theirs is None:
        return None, NOT_MEASURED
    head = pair.mean("head_ms") or 0.0
    note = (
        f"medians {ours:.1f} ms and {theirs:.1f} ms, {_where(found, pair, whole)}; the pair's head takes {head:.1f} ms"
    )
    return _ratio(theirs, ours), note


def _energy(found: Testbed, pair: TestbedRun, whole: TestbedRun) -> Judged:
    ours, theirs = pair.joules, whole.joules
    compute, alone = pair.mean("compute_j") or 0.0, whole.mean("compute_j")
    if not ours or not theirs or not alone:
        return None, NOT_MEASURED
    radio = (pair.mean("radio_j") or 0.0) / ours
    return round(100 * (1 - ours / theirs), 1), (
        f"{found.energy}; {1e3 * ours:.3g} mJ against {1e3 * theirs:.3g} mJ, {_where(found, pair, whole)}; the radio "
        f"is {100 * radio:.0f} % of the pair's, edge only sends nothing; computing alone is "
        f"{100 * (1 - compute / alone):.1f} % less"
    )


def _accuracy(found: Testbed, pair: TestbedRun, whole: TestbedRun) -> Judged:
    lost = found.drop(whole, pair)
    if lost is None:
        return None, "the pair and edge only were given no picture in common"
    full_t = found.run("bottleneck-full-t")
    bottleneck, early = found.drop(whole, full_t), found.drop(full_t, pair)
    note = f"{_percent(pair)} % against {_percent(whole)} %, {lost.of}"
    if bottleneck is not None and early is not None:
        note += f"; {bottleneck.points:.2f} points by the bottleneck, {early.points:.2f} by the early exit"
    return round(lost.points, 2), note


def _payload(found: Testbed, pair: TestbedRun, jpeg: TestbedRun) -> Judged:
    ours, theirs = pair.mean("payload_bytes"), jpeg.mean("payload_bytes")
    if not ours or not theirs:
        return None, NOT_MEASURED
    steps = pair.mean("timesteps") or 1.0
    note = f"{_where(found, pair, jpeg)}; a picture is {steps:.2f} frames of {ours / steps:.0f} bytes, its file "
    return _ratio(theirs, ours), f"{note}{theirs:.0f} bytes{_other_ways(found, pair, jpeg, 'payload_bytes')}"


def _link_bytes(found: Testbed, pair: TestbedRun, jpeg: TestbedRun) -> Judged:
    ours, theirs = pair.mean("link_bytes"), jpeg.mean("link_bytes")
    if not ours or not theirs:
        return None, NOT_MEASURED
    beside = [(run.mean("link_bytes") or 0.0) - (run.mean("payload_bytes") or 0.0) for run in (pair, jpeg)]
    note = (
        f"{_where(found, pair, jpeg)}; beside the payload the pair's frames and answers cost {beside[0]:.0f} bytes, "
        f"one file and one answer {beside[1]:.0f}"
    )
    return _ratio(theirs, ours), note + _other_ways(found, pair, jpeg, "link_bytes")


def _latency_to_jpeg(found: Testbed, pair: TestbedRun, jpeg: TestbedRun) -> Judged:
    ours, theirs = pair.median("latency_ms"), jpeg.median("latency_ms")
    if ours is None or theirs is None:
        return None, NOT_MEASURED
    note = f"{_where(found, pair, jpeg)}; the head takes {pair.mean('head_ms') or 0.0:.0f} ms on the edge, a file none"
    lockstep, local = (found.run(name, pair.link, pair.edge) for name in OTHER_WAYS)
    if lockstep is not None and (median := lockstep.median("latency_ms") or ours) < ours:
        note += f"; in lockstep the median is {median:.1f} ms instead of {ours:.1f}"
    file = jpeg.mean("latency_ms") or 0.0
    if local is not None and (mean := local.mean("latency_ms") or file) < file:
        note += f"; with the local exit asked first the mean is {mean:.1f} ms, a file's {file:.1f}"
    return _ratio(theirs, ours), note


RULES = (
    Rule(f"{PAPER}energy of the edge below edge only's, radio included", 90, "%", "higher", WHOLE, _energy),
    Rule(f"{PAPER}median latency of edge only over the pair's", 3, "ratio", "higher", WHOLE, _latency),
    Rule(f"{PAPER}accuracy lost to the uncompressed network at full T", 2, "points", "lower", WHOLE, _accuracy),
    Rule("accuracy lost to the uncompressed network at full T", 1, "points", "lower", WHOLE, _accuracy),
    Rule("JPEG q90's payload bytes over the pair's", 10, "ratio", "higher", JPEG, _payload),
    Rule("JPEG q90's bytes on the link over the pair's", 5, "ratio", "higher", JPEG, _link_bytes),
)


def _over_link(found: Testbed, link: MeasuredLink) -> Goal:
    name = f"median latency of JPEG q90 over the pair's, {link.asked.name}"
    pair, jpeg = (found.run(alternative, link.asked.name) for alternative in (PAIR, JPEG))
    return _judge(found, Rule(name, 1, "ratio", "higher", JPEG, _latency_to_jpeg), pair, jpeg)


def _files(found: Testbed, pair: TestbedRun | None) -> list[Goal]:
    """The pair must need fewer bytes than the smallest picture file that is as accurate, or the most accurate one."""
    files = [run for alternative, run in found.main_runs() if alternative.codec is not None]
    made = []
    for column, title in (("payload_bytes", "payload bytes"), ("link_bytes", "bytes on the link")):
        measured, note = (None, NOT_MEASURED) if pair is None or not files else _smallest(pair, files, column)
        name = (
            f"{title} of the smallest picture file that is as accurate, or else of the most accurate, over the pair's"
        )
        made.append(Goal(name, 1, measured, "ratio", "higher", note))
    return made


def _smallest(pair: TestbedRun, files: Sequence[TestbedRun], column: str) -> Judged:
    asked = min(_share(pair), max(_share(run) for run in files))
    file = min((run for run in files if _share(run) >= asked), key=lambda run: run.mean(column) or math.inf)
    note = f"that file: {file.alternative}, {_percent(file)} % accurate beside the pair's {_percent(pair)} %"
    return _ratio(file.mean(column), pair.mean(column)), note + (
        "" if _share(file) >= _share(pair) else ": none is as accurate"
    )


def _other_ways(found: Testbed, pair: TestbedRun, jpeg: TestbedRun, column: str) -> str:
    """The ratio of other ways to run the pair that need fewer bytes."""
    ours, theirs = pair.mean(column) or 0.0, jpeg.mean(column) or 0.0
    said = ""
    for alternative in found.alternatives:
        run = found.run(alternative.name, pair.link, pair.edge) if alternative.name in OTHER_WAYS else None
        if run is not None and 0.0 < (there := run.mean(column) or 0.0) < ours:
            said += f"; {alternative.title}: {theirs / there:.1f} at {_percent(run)} % accuracy"
    return said


def _where(found: Testbed, *runs: TestbedRun) -> str:
    return f"n = {' and '.join(str(run.n) for run in runs)}, {runs[0].link}, edge {found.main[1]}"


def _share(run: TestbedRun) -> float:
    return run.accuracy.mean or 0.0


def _percent(run: TestbedRun) -> str:
    return f"{100 * _share(run):.2f}"


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else round(one / other, 3)
