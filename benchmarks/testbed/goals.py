"""What the paper and this project ask of the testbed: each goal as a sentence, what was measured, and the reason.

The paper is arXiv 2509.19156; its goals are those of its abstract, which names no machine or link: notes state ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Literal, NamedTuple

from benchmarks.record import Goal
from benchmarks.testbed.schema import MeasuredLink, Testbed, TestbedRun
from shared.network_spec import FLOAT_BITS

PAIR, WHOLE, PLAIN, JPEG = "full", "edge-only", "plain-float32", "jpeg-90"
OTHER_WAYS = ("bottleneck-exit", "full-local-first")
"""Other ways to run the pair: in lockstep, and with the local exit asked before anything is sent."""

PAPER = "paper: "
"""How the names of the paper's goals begin."""

LEAST_RTT_MS = 1.0
"""Links with a shorter round trip are those of a LAN or of loopback: no goal is set for them."""

SMALL_PICTURES = ("cifar10", "digits")
"""Data sets whose pictures are as small as a file's own headers; the goals for photographs are others."""

NEAR_LINKS, NEAR_FACTOR = ("wifi", "lte"), 1.15
"""Over these a file has hardly to wait, and the pair computes a head: it may take that much longer."""

LEAST_PICTURES = 100
"""Of runs with fewer, the one with the most is compared in accuracy, not the most accurate."""

NOT_MEASURED = "not measured in this run"
Judged = tuple[float | None, str]
"""What was measured, None if it is not known; and the reason."""

Judge = Callable[[Testbed, TestbedRun, TestbedRun], Judged]


class Rule(NamedTuple):
    """A goal for the pair against another alternative, and the function that judges both runs."""

    name: str
    goal: float
    unit: str
    better: Literal["lower", "higher"]
    other: str
    judge: Judge


def goals(found: Testbed) -> list[Goal]:
    """All goals, those of the paper first; `measured` is None where the record lacks a run."""
    runs = {alternative.name: run for alternative, run in found.main_runs()}
    pair = runs.get(PAIR)
    files = JPEG_RULES if found.dataset in SMALL_PICTURES else FILE_RULES
    equal = smallest_equal_file(found)
    others = {**runs, EQUAL: equal} if equal is not None else dict(runs)
    if (best := _most_accurate_whole(runs)) is not None:
        others[BEST_WHOLE] = best
    judged = [_judge(found, rule, pair, others.get(rule.other)) for rule in (*RULES, *files)]
    links = [_over_link(found, link) for link in found.links if link.asked.rtt_ms > LEAST_RTT_MS]
    return [_bits(found), *judged, *links]


def equal_files(found: Testbed, link: str | None = None) -> list[TestbedRun]:
    """The runs of picture files at the quality that is as accurate as the pair, over a link."""
    names = [alternative.name for alternative in found.alternatives if alternative.fitted]
    runs = (found.run(name, link) for name in names)
    return [run for run in runs if run is not None]


def smallest_equal_file(found: Testbed) -> TestbedRun | None:
    """The one of these with the fewest bytes on the main profile, of the codecs that reach the pair's accuracy."""
    reached = {each.codec for each in found.fitted if each.accuracy >= each.pair_accuracy}
    codecs = {alternative.name: alternative.codec for alternative in found.alternatives}
    runs = [run for run in equal_files(found) if codecs[run.alternative] in reached or not reached]
    return min(runs, key=lambda run: run.mean("link_bytes") or math.inf, default=None)


def _most_accurate_whole(runs: Mapping[str, TestbedRun]) -> TestbedRun | None:
    """The uncompressed network in spikes to T, or in one pass without them: no drop shall look better than it is.

    A run of few pictures is passed over where the other has more: its accuracy says little.
    """
    both = [runs[name] for name in (WHOLE, PLAIN) if name in runs]
    return max(both, key=lambda run: (min(run.n, LEAST_PICTURES), run.accuracy.mean or 0.0), default=None)


def _judge(found: Testbed, rule: Rule, pair: TestbedRun | None, other: TestbedRun | None) -> Goal:
    measured, note = (None, NOT_MEASURED) if pair is None or other is None else rule.judge(found, pair, other)
    return Goal(rule.name, rule.goal, measured, rule.unit, rule.better, note)


def _bits(found: Testbed) -> Goal:
    network = found.networks.get("bottleneck")
    name = f"{PAPER}fewer bits a timestep than the float32 features have, before the codec"
    if network is None:
        return Goal(name, 2048, None, "x", "higher", "the record has no bundle with a bottleneck")
    ratio = FLOAT_BITS * math.prod(network.split_shape) / math.prod(network.frame_shape)
    return Goal(name, 2048, ratio, "x", "higher", f"features {network.split_shape}, frame {network.frame_shape}")


def _latency(found: Testbed, pair: TestbedRun, whole: TestbedRun) -> Judged:
    ours, theirs = pair.median("latency_ms"), whole.median("latency_ms")
    if ours is None or theirs is None:
        return None, NOT_MEASURED
    head = pair.mean("head_ms") or 0.0
    plain = [f"{run.alternative} takes {run.median('latency_ms') or 0.0:.1f} ms" for run in _plain(found)]
    medians = f"medians {ours:.1f} ms and {theirs:.1f} ms, {_where(found, pair, whole)}"
    return _ratio(theirs, ours), "; ".join((medians, f"the pair's head takes {head:.1f} ms", *plain))


def _energy(found: Testbed, pair: TestbedRun, whole: TestbedRun) -> Judged:
    ours, theirs = pair.dynamic_j, whole.dynamic_j
    if not ours or not theirs:
        return None, NOT_MEASURED
    note = f"{found.board}, {1e3 * ours:.3g} mJ against {1e3 * theirs:.3g} mJ, {_where(found, pair, whole)}"
    if pair.total_j and whole.total_j:
        note += f"; with the idle board {100 * (1 - pair.total_j / whole.total_j):.1f} % less"
    if (compute := pair.mean("compute_j")) and (alone := whole.mean("compute_j")):
        note += f"; operations at 45 nm alone are {100 * (1 - compute / alone):.1f} % less"
    plain = [f"{run.alternative} takes {1e3 * run.dynamic_j:.3g} mJ" for run in _plain(found) if run.dynamic_j]
    return round(100 * (1 - ours / theirs), 1), "; ".join((note, *plain))


def _accuracy(found: Testbed, pair: TestbedRun, whole: TestbedRun) -> Judged:
    lost = found.drop(whole, pair)
    if lost is None:
        return None, "the pair and the uncompressed network were given no picture in common"
    full_t = found.run("bottleneck-full-t")
    bottleneck, early = found.drop(whole, full_t), found.drop(full_t, pair)
    note = f"{_percent(pair)} % against {_percent(whole)} % ({whole.alternative}), {lost.of}"
    if bottleneck is not None and early is not None:
        note += f"; {bottleneck.points:.2f} points by the bottleneck, {early.points:.2f} by the early exit"
    return round(lost.points, 2), note + _whole_test(found)


def _bytes(column: str, found: Testbed, pair: TestbedRun, file: TestbedRun) -> Judged:
    ours, theirs = pair.mean(column), file.mean(column)
    if not ours or not theirs:
        return None, NOT_MEASURED
    steps = pair.mean("timesteps") or 1.0
    note = f"{_where(found, pair, file)}; {ours:.0f} bytes in {steps:.2f} timesteps against {theirs:.0f} bytes"
    note += f" ({file.alternative}, {_percent(file)} % accurate beside {_percent(pair)} %)"
    if column == "link_bytes":
        beside = [(run.mean(column) or 0.0) - (run.mean("payload_bytes") or 0.0) for run in (pair, file)]
        note += f"; {beside[0]:.0f} and {beside[1]:.0f} of these are beside the payload"
    return _ratio(theirs, ours), note + _other_ways(found, pair, file, column)


def _latency_to_file(found: Testbed, pair: TestbedRun, file: TestbedRun) -> Judged:
    ours, theirs = pair.median("latency_ms"), file.median("latency_ms")
    if ours is None or theirs is None:
        return None, NOT_MEASURED
    note = f"medians {ours:.1f} ms and {theirs:.1f} ms ({file.alternative}), {_where(found, pair, file)}"
    note += f"; the head takes {pair.mean('head_ms') or 0.0:.0f} ms on the edge, a file's coding "
    note += f"{file.mean('encode_ms') or 0.0:.0f}"
    lockstep, local = (found.run(name, pair.link, pair.edge) for name in OTHER_WAYS)
    if lockstep is not None and (median := lockstep.median("latency_ms") or ours) < ours:
        note += f"; in lockstep the median is {median:.1f} ms"
    mean = file.mean("latency_ms") or 0.0
    if local is not None and (ahead := local.mean("latency_ms") or mean) < mean:
        note += f"; with the local exit asked first the mean is {ahead:.1f} ms, a file's {mean:.1f}"
    return _ratio(ours, theirs), note


EQUAL = "the smallest file as accurate"
BEST_WHOLE = "the uncompressed network as it is most accurate"
RULES = (
    Rule(f"{PAPER}less energy of the edge than edge only takes, dynamic", 90, "%", "higher", WHOLE, _energy),
    Rule(f"{PAPER}faster than edge only, medians", 3, "x", "higher", WHOLE, _latency),
    Rule(f"{PAPER}less accurate than the uncompressed network at full T", 2, "points", "lower", BEST_WHOLE, _accuracy),
    Rule("less accurate than the uncompressed network at full T", 1, "points", "lower", BEST_WHOLE, _accuracy),
)
JPEG_RULES = (
    Rule("fewer payload bytes than JPEG q90", 10, "x", "higher", JPEG, partial(_bytes, "payload_bytes")),
    Rule("fewer bytes on the link than JPEG q90", 5, "x", "higher", JPEG, partial(_bytes, "link_bytes")),
    Rule(f"fewer payload bytes than {EQUAL}", 1, "x", "higher", EQUAL, partial(_bytes, "payload_bytes")),
    Rule(f"fewer bytes on the link than {EQUAL}", 1, "x", "higher", EQUAL, partial(_bytes, "link_bytes")),
)
FILE_RULES = (
    Rule(f"fewer payload bytes than {EQUAL}", 15, "x", "higher", EQUAL, partial(_bytes, "payload_bytes")),
    Rule(f"fewer bytes on the link than {EQUAL}", 6, "x", "higher", EQUAL, partial(_bytes, "link_bytes")),
)


def _over_link(found: Testbed, link: MeasuredLink) -> Goal:
    """The pair's median beside that of the fastest file as accurate; before files were fitted, of JPEG q90."""
    pair = found.run(PAIR, link.asked.name)
    runs: Iterable[TestbedRun | None] = equal_files(found, link.asked.name) or [found.run(JPEG, link.asked.name)]
    known = [run for run in runs if run is not None and run.median("latency_ms") is not None]
    fastest = min(known, key=lambda run: run.median("latency_ms") or 0.0, default=None)
    most = NEAR_FACTOR if link.asked.name in NEAR_LINKS else 1.0
    name = f"of the fastest file's median latency over {link.asked.name}"
    return _judge(found, Rule(name, most, "x", "lower", EQUAL, _latency_to_file), pair, fastest)


def _other_ways(found: Testbed, pair: TestbedRun, file: TestbedRun, column: str) -> str:
    """The ratio of other ways to run the pair that need fewer bytes."""
    ours, theirs = pair.mean(column) or 0.0, file.mean(column) or 0.0
    said = ""
    for alternative in found.alternatives:
        run = found.run(alternative.name, pair.link, pair.edge) if alternative.name in OTHER_WAYS else None
        if run is not None and 0.0 < (there := run.mean(column) or 0.0) < ours:
            said += f"; {alternative.title}: {theirs / there:.1f}x at {_percent(run)} % accuracy"
    return said


def _whole_test(found: Testbed) -> str:
    """What both bundles' own evaluations say of all test pictures."""
    pair, whole = (found.networks.get(name) for name in ("bottleneck", "uncompressed"))
    if pair is None or pair.whole_test is None:
        return ""
    said = f"; of all {pair.whole_test.samples:,} test pictures the pair gets {100 * pair.whole_test.accuracy:.2f} %"
    in_spikes = None if whole is None or whole.whole_test is None else whole.whole_test.full_t
    readings = [share for share in (in_spikes, pair.whole_test.uncompressed) if share is not None]
    return said + (f", the uncompressed network {100 * max(readings):.2f} %" if readings else "")


def _plain(found: Testbed) -> list[TestbedRun]:
    runs = (found.run(alternative.name) for alternative in found.alternatives if alternative.kind == "plain")
    return [run for run in runs if run is not None]


def _where(found: Testbed, *runs: TestbedRun) -> str:
    return f"n = {' and '.join(str(run.n) for run in runs)}, {runs[0].link}, edge {found.main[1]}"


def _percent(run: TestbedRun) -> str:
    return f"{100 * (run.accuracy.mean or 0.0):.2f}"


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else round(one / other, 3)
