"""The figures of the report, each from a record alone, drawn by matplotlib as SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmarks.testbed.alternative import CODECS, Alternative
from benchmarks.testbed.schema import PARTS, Testbed, TestbedRun, Trace
from shared.exit_policy import NEVER, Threshold

LINES = (
    *("edge-only", "plain-int8", "jpeg-90", "webp-75", "jpeg-equal", "webp-equal", "avif-equal"),
    *("split-packed", "bottleneck-exit", "full", "full-local-first"),
)
"""Alternatives that are compared over links; others lie between them."""

STACKED = {*LINES, "edge-only-exit", "plain-float32", "http-webp", "split-float32"}
WIDTH = 4.4
"""Inches: on a telephone a figure is as wide as the screen, and its text must not get too small."""
EXITS = ("edge-only-exit", "jpeg-90", "split-packed", "full", "full-local-first")
MARKS = {"raw": "X", "bottleneck-full-t": "^", "bottleneck-exit": "v", "full-local-first": "P"}
"""Marks of those that share a colour; a dot else."""

STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "neucodex",  # and the same record gives the same file
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def svg(paint: Callable[[Figure], None], height: float) -> str:
    """What `paint` draws into a figure of that height (inches), as a data address for an image."""
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(WIDTH, height), layout="constrained")
        try:
            paint(figure)
            file = io.BytesIO()
            figure.savefig(file, format="svg", metadata={"Date": None})
        finally:
            plt.close(figure)
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


def colour(alternative: Alternative) -> str:
    """One for each kind of alternative."""
    if alternative.kind == "picture":
        codecs = {"jpeg": "tab:orange", "webp": "tab:olive", "avif": "tab:brown"}
        return codecs.get(alternative.codec or "", "tab:gray")
    if alternative.kind == "pair":
        return "tab:blue" if alternative.network == "bottleneck" else "tab:cyan"
    others = {"edge": "tab:purple", "float32": "tab:pink", "fallback": "tab:green", "plain": "tab:red", "http": "black"}
    return others[alternative.kind]


def overview(figure: Figure, testbed: Testbed) -> None:
    """The idea in one picture: what runs where, and what crosses the link for a sample."""
    axes = figure.add_subplot()
    axes.set(xlim=(0, 10), ylim=(0, 3))
    axes.set_axis_off()
    pair = next((run for a, run in testbed.main_runs() if a.name == "full"), None)
    payload = None if pair is None else pair.mean("payload_bytes")
    steps = None if pair is None else pair.mean("timesteps")
    box = {"boxstyle": "round,pad=0.5", "fc": "none", "ec": "tab:blue"}
    for x, text in ((1.7, "camera\nfirst layers"), (8.3, "server\nother layers")):
        axes.text(x, 1.5, text, ha="center", va="center", bbox=box)
    for y, ends, text in (
        (1.9, ((3.1, 1.75), (6.9, 1.75)), "spikes" if payload is None else f"{payload:.0f} bytes of spikes"),
        (0.8, ((6.9, 1.25), (3.1, 1.25)), "how sure?" if steps is None else f"sure after {steps:.1f} rounds"),
    ):
        axes.annotate("", ends[1], ends[0], arrowprops={"arrowstyle": "->"})
        axes.text(5.0, y, text, ha="center", va="bottom", fontsize=9)


def accuracy_against_bytes(axes: Axes, testbed: Testbed, column: str, label: str) -> None:
    """A point for each alternative that sends something; the qualities of a picture codec are a curve."""
    points = [
        (alternative, x, 100 * run.accuracy.mean)
        for alternative, run in testbed.main_runs()
        if run.mean("payload_bytes") and (x := run.mean(column)) and run.accuracy.mean is not None
    ]
    for codec, name in CODECS.items():
        curve = [(a, x, y) for a, x, y in points if a.codec == codec and a.kind == "picture" and a.early_exit]
        if curve:
            xy = sorted((x, y) for _, x, y in curve)
            axes.plot(*zip(*xy, strict=True), "s-", ms=4, color=colour(curve[0][0]), label=f"cloud only, {name}")
    for a, x, y in points:
        if a.codec not in CODECS or a.kind == "http":
            axes.plot([x], [y], MARKS.get(a.name, "o"), color=colour(a), label=a.title)
    axes.set(xscale="log", xlabel=label, ylabel="accuracy, %")


def latency_over_links(axes: Axes, testbed: Testbed) -> None:
    """Median latency over each link, in the order of their round trips."""
    links = sorted(testbed.links, key=lambda link: link.asked.rtt_ms)
    places = {link.asked.name: at for at, link in enumerate(links)}
    for alternative in testbed.alternatives:
        points = sorted(
            (places[run.link], value)
            for run in testbed.runs
            if run.alternative == alternative.name and run.edge == testbed.main[1] and run.link in places
            if (value := run.median("latency_ms"))
        )
        if alternative.name not in LINES or not points:
            continue
        if alternative.kind in ("edge", "plain"):  # no link makes a difference
            axes.axhline(points[0][1], color=colour(alternative), ls="--", label=alternative.title)
            continue
        line = {"split-packed": ":", "bottleneck-exit": "--"}.get(alternative.name, "-") + MARKS.get(
            alternative.name, "o"
        )
        axes.plot(*zip(*points, strict=True), line, ms=4, color=colour(alternative), label=alternative.title)
    trips = [link.asked.rtt_ms if link.rtt_ms is None else link.rtt_ms for link in links]
    names = [f"{link.asked.name}\n{trip:.3g} ms" for link, trip in zip(links, trips, strict=True)]
    axes.set_xticks(range(len(links)), names, fontsize=7, rotation=45, ha="right")
    axes.set(yscale="log", xlabel="link, and its measured round trip", ylabel="median latency, ms")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def stacked_latency(axes: Axes, testbed: Testbed) -> None:
    """Mean parts of a sample's latency; they add up to its mean."""
    runs = {a.title: run for a, run in testbed.main_runs() if run.mean("latency_ms") and a.name in STACKED}
    _stack(axes, runs, {part.removesuffix("_ms"): part for part in PARTS}, 1.0)
    axes.set_xlabel("mean latency of a sample, ms")


def stacked_energy(axes: Axes, testbed: Testbed) -> None:
    """Mean energy of a sample on the edge, without float32 features, which would hide the rest."""
    shown = STACKED - {"split-float32"} | {"fallback"}
    runs = {a.title: r for a, r in testbed.main_runs() if r.mean("board_compute_j") is not None and a.name in shown}
    _stack(axes, runs, {"computing": "board_compute_j", "radio": "board_radio_j"}, 1e3)
    axes.set_xlabel("a sample on the edge, mJ above idle")


def exit_histogram(axes: Axes, testbed: Testbed) -> None:
    """Share of the samples by the timestep at which they stopped."""
    shown = [(a, testbed.columns[run.key]) for a, run in testbed.main_runs() if a.name in EXITS and run.n]
    timesteps = max(network.timesteps for network in testbed.networks.values()) if testbed.networks else 1
    width = 0.8 / max(len(shown), 1)
    for index, (alternative, columns) in enumerate(shown):
        shares = [100 * float(np.mean(columns.timesteps == t)) for t in range(1, timesteps + 1)]
        at = np.arange(1, timesteps + 1) + (index - (len(shown) - 1) / 2) * width
        axes.bar(at, shares, width, color=f"C{index}", label=alternative.title)
    axes.set(xlabel="timestep at which a sample stopped", ylabel="share of the samples, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def trace(figure: Figure, found: Trace, names: Sequence[str], threshold: Threshold) -> None:
    """A picture, its spikes (a band for each timestep, a row for each channel) and the cloud's confidences."""
    picture, spikes, confidence = figure.subplots(1, 3, width_ratios=(1, 2, 2))
    picture.imshow(_rgb(found.picture))
    picture.set_axis_off()
    timesteps, channels = found.spikes.shape[:2]
    spikes.imshow(found.spikes.reshape(timesteps * channels, -1), cmap="Blues", aspect="auto", interpolation="nearest")
    spikes.set_yticks([(t + 0.5) * channels - 0.5 for t in range(timesteps)], [f"t={t + 1}" for t in range(timesteps)])
    spikes.set_xlabel("position in a channel")
    for edge in range(1, timesteps):
        spikes.axhline(edge * channels - 0.5, color="black", lw=0.5)
    for index in np.argsort(-np.nanmax(found.confidences, axis=0))[:3]:
        confidence.plot(range(1, timesteps + 1), 100 * found.confidences[:, index], "o-", ms=4, label=names[index])
    if threshold != NEVER:
        confidence.axhline(100 * threshold, color="gray", ls=":")
    confidence.set(ylim=(-4, 104), xlabel="timestep", ylabel="confidence, %")
    confidence.xaxis.set_major_locator(MaxNLocator(integer=True))
    confidence.legend()


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """uint8 [C, H, W] as [H, W, 3]; two channels are events of both polarities, in red and blue."""
    if len(pixels) == 2:
        pixels = np.stack([pixels[0], np.zeros_like(pixels[0]), pixels[1]]) / max(int(pixels.max()), 1)
    return np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0)


def _stack(axes: Axes, runs: Mapping[str, TestbedRun], parts: Mapping[str, str], factor: float) -> None:
    names, left = list(runs), np.zeros(len(runs))
    for part, column in parts.items():
        values = np.array([factor * (run.mean(column) or 0.0) for run in runs.values()])
        if values.any():
            axes.barh(names, values, left=left, label=part)
            left += values
    for at, total in enumerate(left):
        if isfinite(total):
            axes.annotate(
                f"{total:,.3g}", (total, at), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center"
            )
    axes.invert_yaxis()
    axes.margins(x=0.14)
