"""The paper's claims beside what a record measured, and the tables of the report: plain rows, for any page."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from benchmarks.testbed.reasons import of_energy
from benchmarks.testbed.report.figures import main_runs
from benchmarks.testbed.schema import Alternative, Figure, Run, Testbed
from benchmarks.testbed.targets import targets
from shared.network_spec import FLOAT_BITS

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Claim:
    """A row: what the paper says, what was measured, whether that meets it (None: nothing was measured), how."""

    claim: str
    paper: str
    measured: str
    met: bool | None
    how: str


def claims(testbed: Testbed) -> list[Claim]:
    """Of arXiv 2509.19156, which names no machine, link or energy constants: ours stand in `how`."""
    runs = {alternative.name: run for alternative, run in main_runs(testbed)}
    full, alone = runs.get("full"), runs.get("edge-only")
    return [
        _transfer(testbed),
        _energy(testbed, full, alone),
        _latency(testbed, full, alone),
        _drop(testbed, full, alone),
    ]


def _transfer(testbed: Testbed) -> Claim:
    network = testbed.networks.get("bottleneck")
    text = ("data transfer", "up to 2048x fewer bits")
    if network is None:
        return Claim(*text, NOT_MEASURED, None, "the record has no bundle with a bottleneck")
    ratio = FLOAT_BITS * prod(network.split_shape) / prod(network.frame_shape)
    return Claim(
        *text, f"{ratio:,.0f}x", ratio >= 2048,
        f"bits of the float32 features {network.split_shape} over those of a frame {network.frame_shape}, per "
        "timestep, before the codec",
    )  # fmt: skip


def _energy(testbed: Testbed, full: Run | None, alone: Run | None) -> Claim:
    text = ("edge energy", "over 90 % less")
    ours, theirs = (run.joules if run else None for run in (full, alone))
    if not ours or not theirs:
        return Claim(*text, NOT_MEASURED, None, "needs NeuCODEX and edge only on the main profile")
    assert full is not None
    assert alone is not None
    saved = 1 - ours / theirs
    return Claim(
        *text, f"{100 * abs(saved):.1f} % {'less' if saved >= 0 else 'more'}", saved > 0.9,
        f"{testbed.energy}; {1e3 * ours:.3g} mJ against {1e3 * theirs:.3g} mJ edge only on {testbed.main[0]}; "
        + of_energy(full, alone),
    )  # fmt: skip


def _latency(testbed: Testbed, full: Run | None, alone: Run | None) -> Claim:
    text = ("latency", "up to 3x lower than edge only")
    ours, theirs = (run.median("latency_ms") if run else None for run in (full, alone))
    if not ours or not theirs:
        return Claim(*text, NOT_MEASURED, None, "needs NeuCODEX and edge only on the main profile")
    assert full is not None
    head = full.mean("head_ms") or 0.0
    return Claim(
        *text, f"{theirs / ours:.2f}x lower", theirs / ours >= 3,
        f"medians {ours:.1f} ms and {theirs:.1f} ms on {testbed.main[1]} over {testbed.main[0]}; "
        f"{head:.1f} ms of ours is the head",
    )  # fmt: skip


def _drop(testbed: Testbed, full: Run | None, alone: Run | None) -> Claim:
    text = ("accuracy", "drop under 2 points")
    if full is None or alone is None or full.accuracy.mean is None or alone.accuracy.mean is None:
        return Claim(*text, NOT_MEASURED, None, "needs NeuCODEX and edge only on the main profile")
    lost = testbed.drop(alone, full)
    if lost is None:
        return Claim(*text, NOT_MEASURED, None, "NeuCODEX and edge only were given no picture in common")
    return Claim(
        *text, f"{lost.points:.2f} points", lost.points < 2,
        f"{100 * full.accuracy.mean:.2f} % with bottleneck and early exit, {100 * alone.accuracy.mean:.2f} % of the "
        f"whole network at full T; the drop is {lost.of}",
    )  # fmt: skip


ALTERNATIVE_COLUMNS = (
    "alternative", "n", "accuracy", "timesteps", "payload, bytes", "on the link, bytes", "median, ms", "p95", "p99",
    "computing, mJ", "radio, mJ",
)  # fmt: skip


def alternatives_table(testbed: Testbed) -> list[tuple[Alternative, list[str]]]:
    """A row for each alternative on the main profile."""
    rows = []
    for alternative, run in main_runs(testbed):
        latency = run.figures.get("latency_ms")
        cells = [
            alternative.title,
            f"{run.n:,}",
            _interval(run.accuracy, 100, ".2f", " %"),
            _number(run.mean("timesteps"), ".2f"),
            _number(run.mean("payload_bytes"), ",.1f"),
            _number(run.mean("link_bytes"), ",.0f"),
            _interval(latency, 1, ".1f", ""),
            _number(latency.p95 if latency else None, ".1f"),
            _number(latency.p99 if latency else None, ".1f"),
            _number(_times(run.mean("compute_j"), 1e3), ".3g"),
            _number(_times(run.mean("radio_j"), 1e3), ".3g"),
        ]
        rows.append((alternative, cells))
    return rows


def links_table(testbed: Testbed) -> tuple[list[str], list[list[str]]]:
    """The links, asked and measured, and which alternative has the lowest median latency over each."""
    head = ["link", "means", "round trip asked / measured, ms", "up asked / measured, Mbit/s", "lost, %", "fastest",
            "NeuCODEX, ms", "edge only, ms"]  # fmt: skip
    titles = {a.name: a for a in testbed.alternatives}
    edge_only = {a.name: run for a, run in main_runs(testbed)}.get("edge-only")
    rows = []
    for link in testbed.links:
        runs = {
            run.alternative: value
            for run in testbed.runs
            if run.link == link.asked.name and run.edge == testbed.main[1]
            if titles[run.alternative].kind != "fallback" and (value := run.median("latency_ms")) is not None
        }
        alone = edge_only.median("latency_ms") if edge_only else None
        if alone is not None:
            runs.setdefault("edge-only", alone)
        fastest = min(runs, key=runs.__getitem__, default=None)
        rows.append(
            [
                link.asked.name,
                link.means,
                f"{link.asked.rtt_ms:g} / {_number(link.rtt_ms, '.3g')}",
                f"{_number(link.asked.up_mbit, 'g', 'any')} / {_number(link.up_mbit, '.3g')}",
                _number(_times(link.lost, 100), ".2g"),
                "-" if fastest is None else f"{titles[fastest].title} ({runs[fastest]:.1f} ms)",
                _number(runs.get("full"), ".1f"),
                _number(alone, ".1f"),
            ]
        )
    return head, rows


def target_rows(testbed: Testbed) -> list[Claim]:
    """The goals that this project set itself, judged by the record's figures."""
    return [
        Claim(
            target.name,
            f"{'at most' if target.better == 'lower' else 'at least'} {target.goal:g} {target.unit}",
            NOT_MEASURED if target.measured is None else f"{target.measured:.4g} {target.unit}",
            target.met,
            target.note,
        )
        for target in targets(testbed)
    ]


def verdict(met: bool | None) -> str:
    """In a word."""
    return {None: "not measured", True: "met", False: "missed"}[met]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _number(value: float | None, form: str, nothing: str = "-") -> str:
    return nothing if value is None else f"{value:{form}}"


def _interval(figure: Figure | None, factor: float, form: str, unit: str) -> str:
    """The value with its 95 % interval: the mean of an accuracy, the median of a latency."""
    value = None if figure is None else figure.mean if unit else figure.median
    if figure is None or value is None:
        return "-"
    shown = f"{factor * value:{form}}{unit}"
    if figure.low is None or figure.high is None:
        return shown
    return f"{shown} ({factor * figure.low:{form}} to {factor * figure.high:{form}})"
