"""Prints the dashboard as the JSON that Grafana provisions: `make dashboard` writes dashboards/neucodex.json.

Built with Grafana's own Foundation SDK, whose classes are made from Grafana's schema.
"""

from __future__ import annotations

from string import ascii_uppercase

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as schema
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from questions import QUESTIONS, Panel

SOURCE = schema.DataSourceRef(type_val="prometheus", uid="prometheus")
"""The data source of provisioning/datasources/prometheus.yml."""

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
        .with_variable(
            board.QueryVariable("bundle")
            .label("Bundle")
            .datasource(SOURCE)
            .query("label_values(neucodex_cloud_slots, bundle)")
            .refresh(schema.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(schema.VariableOption(selected=True, text="All", value="$__all"))
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


def _panel(panel: Panel, number: int, width: int) -> Builder[schema.Panel]:
    made: stat.Panel | heatmap.Panel | timeseries.Panel
    if panel.kind == "number":
        last = common.ReduceDataOptions().calcs(["lastNotNull"])
        made = stat.Panel().graph_mode(looks.BigValueGraphMode.AREA).min(0).reduce_options(last)
    elif panel.kind == "heatmap":
        made = heatmap.Panel().calculate(False).y_axis(heatmap.YAxisConfig().unit(panel.unit))
    else:
        made = _lines(panel)
    made.id(number).title(panel.title).description(panel.description).unit(panel.unit).datasource(SOURCE)
    for letter, (legend, expression) in zip(ascii_uppercase, panel.queries.items(), strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(expression).legend_format(legend).datasource(SOURCE).range()
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
