"""How the figures look: matplotlib draws marks in stand-in colours, which become the page's own in light and dark.

matplotlib's SVG keeps text as text and writes each colour as it was given, so a colour that nothing else uses can be
replaced by a CSS variable afterwards.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

VARIABLES = {
    "#000001": "--ink",
    "#000002": "--soft",
    "#000003": "--rule",
    "#000004": "--surface",
    "#000011": "--pair",
    "#000012": "--pair-soft",
    "#000013": "--edge",
    "#000014": "--jpeg",
    "#000015": "--webp",
    "#000016": "--plain",
    "#000017": "--features",
    "#000018": "--local",
}
INK, SOFT, RULE, SURFACE = "#000001", "#000002", "#000003", "#000004"
PAIR, PAIR_SOFT, EDGE, JPEG, WEBP, PLAIN, FEATURES, LOCAL = (f"#00001{number}" for number in range(1, 9))
SERIES = (PAIR, EDGE, JPEG, LOCAL, FEATURES, WEBP, PLAIN)
"""For what has no colour of its own, in this order."""

STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": RULE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.5,
}

WIDE = 4.9
"""Inches; the page's column shows it larger than it is, a telephone smaller, and its letters can be read on both."""


def draw(name: str, title: str, paint: Callable[[Axes], None], height: float = 3.7, width: float = WIDE) -> str:
    """An SVG element with a title for those who hear it, `paint` filling its axes. `name` keeps its ids its own."""
    with plt.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = plt.figure(figsize=(width, height), layout="constrained")
        try:
            axes = figure.add_subplot()
            paint(axes)
            return _themed(figure, title)
        finally:
            plt.close(figure)


def _themed(figure: Figure, title: str) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"(font: [^;\"]*?[\d.]+px) [^;\"]*", r"\1 system-ui, sans-serif", text)
    # Groups are named axes_1, line2d_3...: nothing refers to them, and a page has several of each.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg \1 role="img" aria-label="{title}">', text, count=1)
