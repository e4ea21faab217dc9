"""What the dashboard is made of: panels, and rows of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PanelKind = Literal["number", "lines", "stacked", "heatmap", "table"]


@dataclass(frozen=True)
class Panel:
    """One panel. `unit` is Grafana's name for the unit; `queries` maps a legend to the PromQL of its lines."""

    title: str
    description: str
    unit: str
    queries: dict[str, str]
    kind: PanelKind = "lines"
    most: float | None = None
    """Top of the axis, where there is a natural one."""


@dataclass(frozen=True)
class Question:
    """One row."""

    text: str
    panels: tuple[Panel, ...]
