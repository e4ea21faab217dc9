"""Advice for people: tables in a terminal."""

from __future__ import annotations

from rich.table import Table

from benchmarks.testbed.advice import Advice

SHOWN = 8


def choices_table(advice: Advice) -> Table:
    """The best choices, the first of them first."""
    table = Table(title=f"Over {advice.link}, the fastest within the budget first (predicted)", title_justify="left")
    for name in ("bundle", "cut after", "ratio", "threshold", "lookahead", "timesteps", "latency, ms", "link bytes",
                 "accuracy, %", "drop, points", "modelled uJ: computing / radio"):  # fmt: skip
        table.add_column(name, justify="left" if name in ("bundle", "cut after") else "right")
    for choice in advice.choices[:SHOWN]:
        known = choice.compute_j is not None and choice.radio_j is not None
        table.add_row(
            choice.bundle, choice.split, f"{choice.ratio:,.0f}x", f"{choice.threshold:.3g}", str(choice.lookahead),
            f"{choice.timesteps:.2f}", f"{choice.latency_ms:.1f}", f"{choice.link_bytes:,.0f}",
            f"{choice.accuracy:.2f}", f"{choice.drop:.2f} ({choice.drop_from})",
            f"{1e6 * (choice.compute_j or 0):,.1f} / {1e6 * (choice.radio_j or 0):,.1f}" if known else "-",
        )  # fmt: skip
    return table


def misses_table(advice: Advice) -> Table:
    """How wrong the model is on what was measured."""
    table = Table(title="Each measured profile, predicted by a fit without it", title_justify="left")
    for name in ("link", "alternative", "measured mean, ms", "predicted, ms", "error"):
        table.add_column(name, justify="left" if name in ("link", "alternative") else "right")
    for miss in advice.misses:
        shown = f"{miss.measured_ms:.1f}", f"{miss.predicted_ms:.1f}", f"{miss.error:+.1%}"
        table.add_row(miss.link, miss.alternative, *shown)
    return table
