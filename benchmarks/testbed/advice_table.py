"""Advice for people: tables in a terminal."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.table import Table

from benchmarks.testbed.advice import Advice

SHOWN = 8


def choices_table(advice: Advice) -> Table:
    """The best choices, the first of them first, in the width of a usual terminal."""
    best = advice.choices[0]
    table = Table(
        title=f"Over {advice.link}, the fastest within the budget first (predicted)",
        caption=f"{best.bundle} is cut after {best.split}, {best.ratio:,.0f}x; drop in points from {best.drop_from}; "
        "energy modelled, computing + radio",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE,
    )
    for name in ("bundle", "threshold", "ahead", "ms", "bytes", "acc. %", "drop", "mJ"):
        table.add_column(name, justify="left" if name == "bundle" else "right", no_wrap=True)
    for choice in advice.choices[:SHOWN]:
        known = choice.compute_j is not None and choice.radio_j is not None
        joules = (choice.compute_j or 0.0) + (choice.radio_j or 0.0)
        table.add_row(
            choice.bundle,
            f"{choice.threshold:.3g}",
            str(choice.lookahead),
            f"{choice.latency_ms:.1f}",
            f"{choice.link_bytes:,.0f}",
            f"{choice.accuracy:.2f}",
            f"{choice.drop:.2f}",
            f"{1e3 * joules:.3g}" if known else "-",
        )
    return table


def misses_table(advice: Advice) -> Table:
    """How wrong the model is on what was measured."""
    table = Table(title="Each measured profile, predicted by a fit without it", title_justify="left", box=SIMPLE)
    for name in ("link", "alternative", "measured mean, ms", "predicted, ms", "error"):
        table.add_column(name, justify="left" if name in ("link", "alternative") else "right")
    for miss in advice.misses:
        shown = f"{miss.measured_ms:.1f}", f"{miss.predicted_ms:.1f}", f"{miss.error:+.1%}"
        table.add_row(miss.link, miss.alternative, *shown)
    return table
