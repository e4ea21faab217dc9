"""What paper and project ask of the testbed: each goal with its claim, what was measured, and the reason for it.

All figures are the record's own. `targets` are the project's goals, `claims` those of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.record import Goal
from benchmarks.testbed.schema import Figure, Testbed, TestbedRun
from shared.network_spec import FLOAT_BITS

PAIR, WHOLE, JPEG = "full", "edge-only", "jpeg-90"
LOCKSTEP, LOCAL_FIRST = "bottleneck-exit", "full-local-first"
"""Other ways to run the pair, chosen by a flag: in lockstep; with the local exit asked before anything is sent."""

FASTER_THAN_LAN_MS = 1.0
"""Round trips below are LAN's or loopback's."""

NOT_MEASURED = "not measured"
TRANSFER = ("data transfer", "up to 2048x fewer bits")
ENERGY = ("edge energy", "over 90 % less")
LATENCY = ("latency", "up to 3x lower than edge only")
ACCURACY = ("accuracy", "drop under 2 points")
"""The paper's claims; how it says them."""

NEEDS_BOTH = "needs NeuCODEX and edge only on the main profile"


@dataclass(frozen=True)
class Claim:
    """A row of the report: what is claimed, what was measured, whether that meets it (None: not measured), and why."""

    claim: str
    goal: str
    measured: str
    met: bool | None
    reason: str


def claims(found: Testbed) -> list[Claim]:
    """The claims of arXiv 2509.19156, which names no machine, link or energy constants: `reason` has ours."""
    runs = {alternative.name: run for alternative, run in found.main_runs()}
    pair, whole, network = runs.get(PAIR), runs.get(WHOLE), found.networks.get("bottleneck")
    shapes = "the record has no bundle with a bottleneck"
    if network is not None:
        shapes = (
            f"bits of the float32 features {network.split_shape} over those of a frame {network.frame_shape}, "
            "per timestep, before the codec"
        )
    made = [_claim(TRANSFER, _bits(found), lambda ratio: (f"{ratio:,.0f}x", ratio >= 2048), shapes)]
    if pair is None or whole is None:
        return [*made, *(Claim(*text, NOT_MEASURED, None, NEEDS_BOTH) for text in (ENERGY, LATENCY, ACCURACY))]
    ours, theirs = (1e3 * (run.joules or 0.0) for run in (pair, whole))
    spent = f"{found.energy}; {ours:.3g} mJ against {theirs:.3g} mJ edge only on {found.main[0]}"
    medians = f"medians {_median(pair) or 0.0:.1f} ms and {_median(whole) or 0.0:.1f} ms on {found.main[1]}"
    head = f"over {found.main[0]}; {pair.mean('head_ms') or 0.0:.1f} ms of ours is the head"
    right, best = (100 * _share(run.accuracy) for run in (pair, whole))
    lost = found.drop(whole, pair)
    drop = "NeuCODEX and edge only were given no picture in common"
    if lost is not None:
        drop = (
            f"{right:.2f} % with bottleneck and early exit, {best:.2f} % of the whole network at full T; "
            f"the drop is {lost.of}"
        )
    return [
        *made,
        _claim(
            ENERGY,
            _saved(pair, whole),
            lambda part: (f"{100 * abs(part):.1f} % {'less' if part >= 0 else 'more'}", part > 0.9),
            f"{spent}; {why_energy(pair, whole)}",
        ),
        _claim(
            LATENCY,
            _ratio(_median(whole), _median(pair), digits=None),
            lambda ratio: (f"{ratio:.2f}x lower", ratio >= 3),
            f"{medians} {head}",
        ),
        _claim(
            ACCURACY,
            None if lost is None else lost.points,
            lambda points: (f"{points:.2f} points", points < 2),
            drop,
        ),
    ]


def target_rows(found: Testbed) -> list[Claim]:
    """The goals of this project as rows of the report."""
    return [
        Claim(
            target.name,
            f"{'at most' if target.better == 'lower' else 'at least'} {target.goal:g} {target.unit}",
            NOT_MEASURED if target.measured is None else f"{target.measured:.4g} {target.unit}",
            target.met,
            target.note,
        )
        for target in targets(found)
    ]


def verdict(met: bool | None) -> str:
    """In a word."""
    return {None: NOT_MEASURED, True: "met", False: "missed"}[met]


def targets(found: Testbed) -> list[Goal]:
    """Each figure with its goal, and why it is what it is; None where it was not measured."""
    return [_transfer(found), *_bytes(found), _accuracy(found), *_curves(found), *_latency(found), _energy(found)]


def _transfer(found: Testbed) -> Goal:
    name = "payload bits of float32 features : of the pair's frame, a timestep"
    return Goal(name, 2048, _bits(found), "ratio", "higher")


def _bytes(found: Testbed) -> list[Goal]:
    pair, jpeg = found.run(PAIR), found.run(JPEG)
    goals = (
        ("payload_bytes", 10.0, "payload bytes", why_payload),
        ("link_bytes", 5.0, "bytes on the link", why_link),
    )
    return [
        Goal(
            f"JPEG q90's {title} : the pair's",
            goal,
            _ratio(_mean(jpeg, column), _mean(pair, column)),
            "ratio",
            "higher",
            _note(found, pair, jpeg, why=why(found, pair, jpeg) if pair and jpeg else ""),
        )
        for column, goal, title, why in goals
    ]


def _accuracy(found: Testbed) -> Goal:
    """Of the same pictures: the uncompressed network at full T on the edge."""
    pair, whole = found.run(PAIR), found.run(WHOLE)
    lost = found.drop(whole, pair)
    return Goal(
        "accuracy of the uncompressed network at full T - the pair's",
        1.0,
        None if lost is None else round(lost.points, 2),
        "points",
        "lower",
        _note(found, pair, whole) if pair is None or lost is None else _joined(lost.of, why_accuracy(found, pair)),
    )


def _curves(found: Testbed) -> list[Goal]:
    """Of the picture files at least as accurate as the pair, the one of fewest bytes: the pair must need fewer.

    Where none is as accurate, of the most accurate ones.
    """
    pair = found.run(PAIR)
    files = [
        run
        for alternative in found.alternatives
        if alternative.codec is not None and (run := found.run(alternative.name)) is not None
    ]
    asked = min(_share(pair.accuracy if pair else None), max((_share(run.accuracy) for run in files), default=0.0))
    rivals = [run for run in files if _share(run.accuracy) >= asked]
    made = []
    for column, title in (("payload_bytes", "payload bytes"), ("link_bytes", "bytes on the link")):
        best = min(rivals, key=lambda run: _mean(run, column) or math.inf, default=None)
        made.append(
            Goal(
                f"{title} of the smallest picture file that is as accurate, or else of the most accurate : the pair's",
                1.0,
                _ratio(_mean(best, column), _mean(pair, column)),
                "ratio",
                "higher",
                "no picture file was sent" if pair is None or best is None else _rival(best, pair),
            )
        )
    return made


def _rival(file: TestbedRun, pair: TestbedRun) -> str:
    theirs, ours = (100 * _share(run.accuracy) for run in (file, pair))
    said = f"that file: {file.alternative}, {theirs:.2f} % accurate beside the pair's {ours:.2f} %"
    return said if theirs >= ours else f"{said}: none is as accurate"


def _latency(found: Testbed) -> list[Goal]:
    pair, whole = found.run(PAIR), found.run(WHOLE)
    made = [
        Goal(
            "median latency of edge only : the pair's",
            3.0,
            _ratio(_median(whole), _median(pair)),
            "ratio",
            "higher",
            _note(found, pair, whole),
        )
    ]
    for link in found.links:
        if link.asked.rtt_ms > FASTER_THAN_LAN_MS:
            here, jpeg = (found.run(name, link.asked.name, found.main[1]) for name in (PAIR, JPEG))
            made.append(
                Goal(
                    f"median latency of cloud only, JPEG q90 : the pair's, {link.asked.name}",
                    1.0,
                    _ratio(_median(jpeg), _median(here)),
                    "ratio",
                    "higher",
                    _note(found, here, jpeg, why=why_latency(found, here, jpeg) if here and jpeg else ""),
                )
            )
    return made


def _energy(found: Testbed) -> Goal:
    pair, whole = found.run(PAIR), found.run(WHOLE)
    saved = _saved(pair, whole)
    return Goal(
        "edge energy below edge only, radio included",
        90.0,
        None if saved is None else round(100 * saved, 1),
        "%",
        "higher",
        f"{found.energy}; {_note(found, pair, whole, why=why_energy(pair, whole) if pair and whole else '')}",
    )


def why_payload(found: Testbed, pair: TestbedRun, jpeg: TestbedRun) -> str:
    """How many bytes each sends of a picture, and whether another way of running the pair would send fewer."""
    steps = pair.mean("timesteps") or 1.0
    ours, theirs = (run.mean("payload_bytes") or 0.0 for run in (pair, jpeg))
    said = f"a picture is {steps:.2f} frames of {ours / steps:.0f} bytes, its file {theirs:.0f} bytes"
    return said + _other_ways(found, pair, jpeg, "payload_bytes")


def why_link(found: Testbed, pair: TestbedRun, jpeg: TestbedRun) -> str:
    """What share of the bytes on the link is spikes, and whether another way of running the pair would need fewer."""
    ours, theirs = (_beside(run) for run in (pair, jpeg))
    said = (
        f"beside the payload the pair's frames and answers cost {ours:.0f} bytes, one file and one answer {theirs:.0f}"
    )
    return said + _other_ways(found, pair, jpeg, "link_bytes")


def why_accuracy(found: Testbed, pair: TestbedRun) -> str:
    """What of the drop is the bottleneck's, and what the early exit's."""
    whole, full_t = found.run(WHOLE), found.run("bottleneck-full-t")
    bottleneck = found.drop(whole, full_t)
    early = found.drop(full_t, pair)
    if bottleneck is None or early is None:
        return ""
    return f"{bottleneck.points:.2f} of it by the bottleneck, {early.points:.2f} by the early exit"


def why_latency(found: Testbed, pair: TestbedRun, jpeg: TestbedRun) -> str:
    """What the edge's head takes of it, which a file does not need, and whether another way of running is faster."""
    head, ours = pair.mean("head_ms") or 0.0, pair.median("latency_ms") or 0.0
    said = f"the head takes {head:.0f} ms of a sample on the edge, a file needs none"
    lockstep, first = (found.run(name, pair.link, pair.edge) for name in (LOCKSTEP, LOCAL_FIRST))
    there = None if lockstep is None else lockstep.median("latency_ms")
    if there is not None and there < ours:
        said += f"; in lockstep the median is {there:.1f} ms instead of {ours:.1f}"
    local, file = (None if run is None else run.mean("latency_ms") for run in (first, jpeg))
    if local is not None and file is not None and local < file:
        said += f"; with the local exit asked first the mean is {local:.1f} ms, a file's {file:.1f}"
    return said


def why_energy(pair: TestbedRun, whole: TestbedRun) -> str:
    """What the radio does to it."""
    compute, alone = pair.mean("compute_j") or 0.0, whole.mean("compute_j")
    if not alone:
        return ""
    radio = (pair.mean("radio_j") or 0.0) / (pair.joules or 1.0)
    return (
        f"the radio is {100 * radio:.0f} % of the pair's, edge only sends nothing; "
        f"computing alone is {100 * (1 - compute / alone):.1f} % less"
    )


def _other_ways(found: Testbed, pair: TestbedRun, jpeg: TestbedRun, column: str) -> str:
    """The file's bytes over those of the pair run in other ways, where these need fewer."""
    ours, theirs = (run.mean(column) or 0.0 for run in (pair, jpeg))
    said = ""
    for alternative in found.alternatives:
        run = found.run(alternative.name, pair.link, pair.edge) if alternative.name in (LOCKSTEP, LOCAL_FIRST) else None
        if run is not None and theirs and 0.0 < (there := run.mean(column) or 0.0) < ours:
            said += f"; {alternative.title}: {theirs / there:.1f} at {100 * (run.accuracy.mean or 0.0):.2f} % accuracy"
    return said


def _beside(run: TestbedRun) -> float:
    return (run.mean("link_bytes") or 0.0) - (run.mean("payload_bytes") or 0.0)


def _note(found: Testbed, *runs: TestbedRun | None, why: str = "") -> str:
    if any(run is None for run in runs):
        return "not measured in this run"
    known: Sequence[TestbedRun] = [run for run in runs if run is not None]
    link = known[0].link
    return _joined(f"n = {' and '.join(str(run.n) for run in known)}, {link}, edge {found.main[1]}", why)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _share(figure: Figure | None) -> float:
    return 0.0 if figure is None else figure.mean or 0.0


def _mean(run: TestbedRun | None, column: str) -> float | None:
    return None if run is None else run.mean(column)


def _median(run: TestbedRun | None) -> float | None:
    return None if run is None else run.median("latency_ms")


def _ratio(one: float | None, other: float | None, digits: int | None = 3) -> float | None:
    if one is None or not other:
        return None
    return one / other if digits is None else round(one / other, digits)


def _bits(found: Testbed) -> float | None:
    network = found.networks.get("bottleneck")
    return None if network is None else FLOAT_BITS * math.prod(network.split_shape) / math.prod(network.frame_shape)


def _saved(pair: TestbedRun | None, whole: TestbedRun | None) -> float | None:
    """The part of edge only's joules that the pair does not need."""
    ours, theirs = (None if run is None else run.joules for run in (pair, whole))
    spent = _ratio(ours, theirs, digits=None)
    return 1 - spent if spent else None


def _claim(
    text: tuple[str, str], value: float | None, judge: Callable[[float], tuple[str, bool]], reason: str
) -> Claim:
    """A row; `judge` returns how the value reads, and whether it meets the claim."""
    measured, met = (NOT_MEASURED, None) if value is None else judge(value)
    return Claim(*text, measured, met, reason)
