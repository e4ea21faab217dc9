"""The pictures of load measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def plot(results: Mapping[str, Any], path: Path) -> None:
    """Throughput over the number of streams, beside the bare loop and a cloud that steps each frame alone."""
    rows = results["throughput"]
    streams = [row["streams"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for key, label, style in (
        ("offline_steps_per_second", "bare loop, same batch sizes", "--"),
        ("steps_per_second", "served over gRPC", "-o"),
    ):
        middle = [row[key]["median"] for row in rows]
        (line,) = left.plot(streams, middle, style, label=label)
        low, high = ([row[key][end] for row in rows] for end in ("min", "max"))
        left.fill_between(streams, low, high, color=line.get_color(), alpha=0.2)
    alone = results["alone"]
    left.plot(alone["streams"], alone["alone_steps_per_second"]["median"], "s", label="served, each frame alone")
    left.set(xscale="log", xlabel="streams in lockstep", ylabel="tail steps a second", title=results["tail"])
    left.margins(y=0.1)
    left.set_ylim(bottom=0)
    left.legend()
    right.plot(streams, [row["ratio"]["median"] for row in rows], "-o", label="served / bare loop")
    right.plot(streams, [row["generator_cores"] for row in rows], ":", label="cores of the busiest generator")
    right.axhline(0.85, color="grey", linewidth=0.8)
    right.set(
        xscale="log", xlabel="streams in lockstep", ylim=(0, 1.2), title="how much of the offline limit is served"
    )
    right.legend()
    for axes in (left, right):
        axes.set_xticks(streams, [str(count) for count in streams])
        axes.minorticks_off()
    _save(figure, path)


def plot_soak(samples: Sequence[Mapping[str, float]], path: Path) -> None:
    """What a process holds over the frames it has answered, one panel for each count."""
    names = [name for name in samples[0] if name not in ("frames", "seconds")]
    figure, panels = plt.subplots(len(names), 1, figsize=(8, 1.8 * len(names)), sharex=True)
    frames = [sample["frames"] for sample in samples]
    for axes, name in zip(panels, names, strict=True):
        axes.plot(frames, [sample[name] for sample in samples], "-o", markersize=2)
        axes.set_ylabel(name.replace("_", " "))
        axes.margins(y=0.15)
        axes.set_ylim(bottom=0)
    panels[-1].set_xlabel("frames answered")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
