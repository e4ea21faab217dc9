"""The figure of `neucodex-bench events`: bytes and latency of each form, a panel for each link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the figure; each point bears its form and its accuracy."""
    links = list(dict.fromkeys(row["link"] for row in rows))
    figure = Figure(figsize=(4.2 * len(links), 3.8), layout="constrained")
    for axes, link in zip(figure.subplots(1, len(links), squeeze=False, sharey=True)[0], links, strict=True):
        for row in (row for row in rows if row["link"] == link):
            middle = row["latency_ms"]["50"]
            spread = [[middle - row["latency_ms"]["25"]], [row["latency_ms"]["75"] - middle]]
            axes.errorbar(row["bytes_mean"], middle, yerr=spread, fmt="o", capsize=3)
            axes.annotate(
                f"{row['form']}, {row['accuracy']:.0%}", (row["bytes_mean"], middle), (4, 6), textcoords="offset points"
            )
        axes.set(xscale="log", yscale="log", xlabel="bytes of a window", title=f"{link} ({rows[0]['n']} windows)")
        axes.margins(x=0.25, y=0.15)
    figure.axes[0].set_ylabel("ms to the class, median and quartiles")
    figure.savefig(path, dpi=120)
