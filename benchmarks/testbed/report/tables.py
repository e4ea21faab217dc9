"""The tables of the report: plain rows, for any page."""

from __future__ import annotations

from benchmarks.testbed.schema import Alternative, Figure, Testbed

ALTERNATIVE_COLUMNS = (
    "alternative", "n", "accuracy", "timesteps", "payload, bytes", "on the link, bytes", "median, ms", "p95", "p99",
    "computing, mJ", "radio, mJ",
)  # fmt: skip


def alternatives_table(testbed: Testbed) -> list[tuple[Alternative, list[str]]]:
    """A row for each alternative on the main profile."""
    rows = []
    for alternative, run in testbed.main_runs():
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
    edge_only = {a.name: run for a, run in testbed.main_runs()}.get("edge-only")
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
