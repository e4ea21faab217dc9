"""The figure of `neucodex-bench events`: bytes and latency of each form, a panel for each link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the figure; the legend has the accuracy of each form, which is the same over every link."""
    links = list(dict.fromkeys(row["link"] for row in rows))
    figure = Figure(figsize=(3.4 * len(links) + 2.0, 3.6), layout="constrained")
    panels = figure.subplots(1, len(links), squeeze=False, sharey=True)[0]
    for axes, link in zip(panels, links, strict=True):
        for row, marker in zip((row for row in rows if row["link"] == link), cycle("osD^P"), strict=False):
            middle = row["latency_ms"]["50"]
            spread = [[middle - row["latency_ms"]["25"]], [row["latency_ms"]["75"] - middle]]
            name = f"{row['form']}: {row['accuracy']:.0%} right"
            axes.errorbar(row["bytes_mean"], middle, yerr=spread, fmt=marker, capsize=3, label=name)
        axes.set(xscale="log", yscale="log", xlabel="bytes of a window", title=f"{link} ({rows[0]['n']} windows)")
        axes.grid(alpha=0.3)
        axes.margins(x=0.15, y=0.15)
    panels[0].set_ylabel("ms to the class, median and quartiles")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    figure.savefig(path, dpi=120)
