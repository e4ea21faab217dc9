"""The figures of the report, each from a record alone."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from benchmarks.testbed.report import theme
from benchmarks.testbed.schema import PARTS, Alternative, Columns, Testbed, TestbedRun

LINES = (
    "edge-only", "png", "jpeg-90", "webp-75", "split-float32", "split-packed", "bottleneck-exit", "full",
    "full-local-first",
)  # fmt: skip
"""Alternatives that are compared over links; others lie between them."""

ENERGETIC = {*LINES, "edge-only-exit", "fallback"} - {"split-float32"}
"""Alternatives whose energy is drawn."""

MARKS = {"raw": "X", "bottleneck-full-t": "^", "bottleneck-exit": "v", "full-local-first": "P"}
"""Marks of those that share a colour; a dot else."""

PART_NAMES = dict(zip(PARTS, ("head", "encode", "uplink", "queue", "tail", "downlink", "other"), strict=True))
PART_COLOURS = dict(
    zip(
        PARTS,
        (theme.PAIR, theme.PAIR_SOFT, theme.JPEG, theme.LOCAL, theme.EDGE, theme.WEBP, theme.PLAIN),
        strict=True,
    )
)

Paint = Callable[[Axes], None]


def colour(alternative: Alternative) -> str:
    """One for each kind of alternative."""
    if alternative.kind == "picture":
        return {"jpeg": theme.JPEG, "webp": theme.WEBP}.get(alternative.codec or "", theme.PLAIN)
    if alternative.kind == "pair":
        return theme.PAIR if alternative.network == "bottleneck" else theme.PAIR_SOFT
    return {"edge": theme.EDGE, "float32": theme.FEATURES, "fallback": theme.LOCAL}[alternative.kind]


def accuracy_against_bytes(testbed: Testbed, figure: str, label: str) -> Paint:
    """Points for each alternative that sends something; the qualities of a picture codec are a curve."""
    points = [
        (alternative, x, run.accuracy.mean)
        for alternative, run in testbed.main_runs()
        if run.mean("payload_bytes") and (x := run.mean(figure)) and run.accuracy.mean is not None
    ]

    def paint(axes: Axes) -> None:
        for codec, name, line, marker in (("jpeg", "JPEG", theme.JPEG, "s"), ("webp", "WebP", theme.WEBP, "D")):
            curve = sorted(
                (x, 100 * y) for a, x, y in points if a.kind == "picture" and a.codec == codec and a.early_exit
            )
            if curve:
                axes.plot(*zip(*curve, strict=True), f"{marker}-", color=line, ms=5, label=f"cloud only, {name}")
        for a, x, y in points:
            if a.kind == "picture" and a.codec in ("jpeg", "webp"):
                continue
            mark, size = MARKS.get(a.name, "o"), 9 if a.name == "full" else 6.5
            axes.plot([x], [100 * y], mark, color=colour(a), ms=size, label=a.title)
            if a.name == "full":
                axes.annotate(
                    a.title, (x, 100 * y), xytext=(0, -16), textcoords="offset points", fontsize=8.5, ha="center"
                )
        axes.set(xscale="log", xlabel=label, ylabel="accuracy, %")
        axes.margins(0.1, 0.1)
        _plain_numbers(axes, "x")
        if points:
            axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2)

    return paint


def latency_over_links(testbed: Testbed) -> Paint:
    """Median latency over each link, in the order of their round trips. Two may have one round trip and other rates."""
    links = sorted(testbed.links, key=lambda link: link.asked.rtt_ms)
    places = {link.asked.name: at for at, link in enumerate(links)}

    def paint(axes: Axes) -> None:
        for name in LINES:
            alternative = next((a for a in testbed.alternatives if a.name == name), None)
            points = sorted(
                (places[run.link], value)
                for run in testbed.runs
                if run.alternative == name and run.edge == testbed.main[1] and run.link in places
                if (value := run.median("latency_ms"))
            )
            if alternative is None or not points:
                continue
            if alternative.kind == "edge":  # no link makes a difference
                axes.axhline(points[0][1], color=colour(alternative), ls="--", label=alternative.title)
                continue
            style = {"split-packed": ":", "bottleneck-exit": "--"}.get(name, "-")
            mark = MARKS.get(name, "o")
            axes.plot(
                *zip(*points, strict=True), f"{mark}{style}", color=colour(alternative), label=alternative.title, ms=5
            )
        axes.set(yscale="log", xlabel="link, and its measured round trip", ylabel="median latency, ms")
        trips = [link.asked.rtt_ms if link.rtt_ms is None else link.rtt_ms for link in links]
        names = [f"{link.asked.name}\n{trip:.3g} ms" for link, trip in zip(links, trips, strict=True)]
        axes.set_xticks(range(len(links)), names, fontsize=8)
        _plain_numbers(axes, "y")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)

    return paint


def stacked_latency(testbed: Testbed) -> Paint:
    """Mean parts of a sample's latency: they add up to its mean."""
    rows = [
        (a, run) for a, run in testbed.main_runs() if run.mean("latency_ms") and a.name in (*LINES, "edge-only-exit")
    ]
    return _stacked(
        [a.title for a, _ in rows],
        {PART_NAMES[part]: [run.mean(part) or 0.0 for _, run in rows] for part in PARTS},
        [PART_COLOURS[part] for part in PARTS],
        "mean latency of a sample, ms",
    )


def stacked_energy(testbed: Testbed) -> Paint:
    """Mean energy of a sample on the edge, computing and radio; without float32 features, which would hide the rest."""
    rows = [(a, run) for a, run in testbed.main_runs() if run.mean("compute_j") is not None and a.name in ENERGETIC]
    most = max((sum(run.mean(part) or 0.0 for part in ("compute_j", "radio_j")) for _, run in rows), default=1.0)
    factor, unit = (1e3, "mJ") if most >= 1e-3 else (1e6, "µJ")
    return _stacked(
        [a.title for a, _ in rows],
        {
            "computing": [factor * (run.mean("compute_j") or 0.0) for _, run in rows],
            "radio": [factor * (run.mean("radio_j") or 0.0) for _, run in rows],
        },
        [theme.PAIR, theme.JPEG],
        f"a sample on the edge, {unit}, {testbed.energy.split(';')[0].split(' (')[0]}",
    )


def exit_histogram(testbed: Testbed) -> Paint:
    """Share of the samples by the timestep at which they stopped."""
    wanted = ("edge-only-exit", "jpeg-90", "split-packed", "full", "full-local-first")
    shown = [
        (a, testbed.columns[run.key]) for a, run in testbed.main_runs() if a.name in wanted and len_of(testbed, run)
    ]

    def paint(axes: Axes) -> None:
        steps = max((int(columns.timesteps.max()) for _, columns in shown), default=1)
        timesteps = max([network.timesteps for network in testbed.networks.values()] + [steps])
        width = 0.8 / max(len(shown), 1)
        for index, (alternative, columns) in enumerate(shown):
            shares = [100 * float(np.mean(columns.timesteps == t)) for t in range(1, timesteps + 1)]
            at = np.arange(1, timesteps + 1) + (index - (len(shown) - 1) / 2) * width
            axes.bar(at, shares, width * 0.88, color=theme.SERIES[index], label=alternative.title)
        axes.set(xlabel="timestep at which a sample stopped", ylabel="share of the samples, %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper right")

    return paint


def confidence(confidences: np.ndarray, names: tuple[str, ...], threshold: float) -> Paint:
    """The confidences [T, classes] of one picture in its likeliest classes, by timestep."""
    timesteps = len(confidences)
    best = np.argsort(-np.nanmax(confidences, axis=0))[:3]

    def paint(axes: Axes) -> None:
        at = range(1, timesteps + 1)
        for place, index in enumerate(best):
            axes.plot(at, 100 * confidences[:, index], "o-", color=theme.SERIES[place], label=names[index], ms=5)
        axes.axhline(100 * threshold, color=theme.SOFT, ls=":", lw=1.2)
        axes.set(ylim=(-4, 104), xlabel="timestep", ylabel="confidence, %")
        axes.set_xticks(list(at))
        axes.legend(loc="center right")

    return paint


def len_of(testbed: Testbed, run: TestbedRun) -> int:
    """How many samples of a run the record holds."""
    columns: Columns | None = testbed.columns.get(run.key)
    return 0 if columns is None else len(columns)


def _stacked(names: list[str], parts: dict[str, list[float]], colours: list[str], label: str) -> Paint:
    def paint(axes: Axes) -> None:
        left = np.zeros(len(names))
        for (part, values), fill in zip(parts.items(), colours, strict=True):
            if not any(values):
                continue
            axes.barh(names, values, left=left, height=0.62, color=fill, label=part, ec=theme.SURFACE, lw=0.8)
            left += np.array(values)
        for at, total in enumerate(left):
            if isfinite(total):
                axes.annotate(f"{total:,.3g}", (total, at), xytext=(4, 0), textcoords="offset points", fontsize=8.5,
                              va="center", color=theme.SOFT)  # fmt: skip
        axes.invert_yaxis()
        axes.margins(x=0.14)
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0, labelcolor=theme.INK)
        if axes.containers:
            axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.17), ncols=4, handlelength=1.0)

    return paint


def _plain_numbers(axes: Axes, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    low, high = axis.get_view_interval()
    # Less than a decade has no tick of its own otherwise.
    axis.set_minor_formatter(NullFormatter() if high > 12 * low else FuncFormatter(lambda value, _: f"{value:,g}"))
