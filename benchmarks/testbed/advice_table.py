"""Advice for people: tables in a terminal."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.testbed.advice import Advice

SHOWN = 8


def show(advice: Advice) -> None:
    """Print the best choices, the first of them first, and how wrong the model is on what was measured."""
    best = advice.choices[0]
    choices = _table(
        f"Over {advice.link}, the fastest within the budget first (predicted)",
        "bundle", "threshold", "ahead", "ms", "bytes", "acc. %", "drop", "mJ",
    )  # fmt: skip
    energy = "of an ideal chip, without a radio" if advice.board is None else f"what a sample adds to a {advice.board}"
    choices.caption = (
        f"{best.bundle} is cut after {best.split}, {best.ratio:,.0f}x; drop in points from {best.drop_from}; "
        f"mJ: {energy}"
    )
    for choice in advice.choices[:SHOWN]:
        joules = choice.compute_j if advice.board is None else choice.board_dynamic_j
        choices.add_row(
            choice.bundle,
            f"{choice.threshold:.3g}",
            str(choice.lookahead),
            f"{choice.latency_ms:.1f}",
            f"{choice.link_bytes:,.0f}",
            f"{choice.accuracy:.2f}",
            f"{choice.drop:.2f}",
            "-" if joules is None else f"{1e3 * joules:.3g}",
        )
    misses = _table(
        "Each measured profile, predicted by a fit without it",
        "profile", "measured mean, ms", "predicted, ms", "error",
    )  # fmt: skip
    for miss in advice.misses:
        shown = f"{miss.measured_ms:.1f}", f"{miss.predicted_ms:.1f}", f"{miss.error:+.1%}"
        misses.add_row(f"{miss.link}, {miss.alternative}", *shown)
    console = Console(highlight=False)
    console.print(choices, misses, sep="\n")
    console.print(f"fitted overhead: {advice.overhead_ms:.2f} ms")


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
