"""Prints the dashboard as the JSON that Grafana provisions: `make dashboard` writes dashboards/neucodex.json.

Built with Grafana's own Foundation SDK, whose classes are made from Grafana's schema.
"""

from __future__ import annotations

from string import ascii_uppercase

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as schema
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from panels import Panel
from questions import QUESTIONS

SOURCE = schema.DataSourceRef(type_val="prometheus", uid="${source}")
"""The data source that is chosen above the dashboard: no panel names one of its own."""

WINDOWS = "5m,1m,15m,1h"
"""Over which rates are taken, the default first. It holds several scrapes, also those of an edge that is read each
minute."""

WIDTH, HEIGHT = 24, 8
"""Of Grafana's grid: all of a row, and one panel."""


def main() -> None:
    """Print it."""
    dashboard = (
        board.Dashboard("NeuCODEX")
        .uid("neucodex-pair")
        .description("One spiking neural network over edge and cloud: a row for each question.")
        .tags(["neucodex"])
        .refresh("10s")
        .time("now-15m", "now")
        .timezone("browser")
        .with_variable(board.DatasourceVariable("source").label("Data source").type("prometheus"))
        .with_variable(_label_variable("instance", "Instance"))
        .with_variable(_label_variable("bundle", "Bundle"))
        .with_variable(
            board.CustomVariable("window")
            .label("Rates over")
            .values(WINDOWS)
            .current(schema.VariableOption(selected=True, text="5m", value="5m"))
        )
    )
    next_id = 1
    for question in QUESTIONS:
        dashboard.with_row(board.Row(question.text).id(next_id))
        width = WIDTH // min(3, len(question.panels))
        for offset, panel in enumerate(question.panels, 1):
            dashboard.with_panel(_panel(panel, next_id + offset, width))
        next_id += 1 + len(question.panels)
    print(JSONEncoder(sort_keys=True, indent=1).encode(dashboard.build()))


def _label_variable(label: str, title: str) -> board.QueryVariable:
    return (
        board.QueryVariable(label)
        .label(title)
        .datasource(SOURCE)
        .query(f"label_values(neucodex_build_info, {label})")
        .refresh(schema.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(schema.VariableOption(selected=True, text="All", value="$__all"))
    )


def _panel(panel: Panel, number: int, width: int) -> Builder[schema.Panel]:
    made: stat.Panel | heatmap.Panel | table.Panel | timeseries.Panel
    if panel.kind == "number":
        last = common.ReduceDataOptions().calcs(["lastNotNull"])
        made = stat.Panel().graph_mode(looks.BigValueGraphMode.AREA).min(0).reduce_options(last)
    elif panel.kind == "heatmap":
        made = heatmap.Panel().calculate(False).y_axis(heatmap.YAxisConfig().unit(panel.unit))
    elif panel.kind == "table":
        made = table.Panel()
    else:
        made = _lines(panel)
    made.id(number).title(panel.title).description(panel.description).unit(panel.unit).datasource(SOURCE)
    for letter, (legend, expression) in zip(ascii_uppercase, panel.queries.items(), strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(expression).legend_format(legend).datasource(SOURCE)
        if panel.kind == "table":
            target.instant().format(PromQueryFormat.TABLE)
        else:
            target.range()
        if panel.kind == "heatmap":
            target.format(PromQueryFormat.HEATMAP)
        made.with_target(target)
    return made.height(HEIGHT).span(width)


def _lines(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .min(0)
        .fill_opacity(40 if panel.kind == "stacked" else 5)
        .show_points(looks.VisibilityMode.NEVER)
        .legend(common.VizLegendOptions().show_legend(True).placement(looks.LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI))
    )
    if panel.kind == "stacked":
        made.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A"))
    if panel.most is not None:
        made.max(panel.most)
    return made


if __name__ == "__main__":
    main()
