"""The page of Prometheus metrics, from `shared/metric_table.py`."""

from __future__ import annotations

from docs.generate.markdown import code, page, section, table
from shared.metric_table import CLOUD_METRICS, EDGE_METRICS, Metric

HEADER = ("metric", "type", "labels", "what it measures")


def metrics_page() -> str:
    """Every metric of the edge and of the cloud, with labels and buckets."""
    introduction = (
        "A label without values in brackets has values that only the running process knows, such as the names of its "
        "bundles. [Operations](../operations.md) says how to read them."
    )
    sides = (("Edge", EDGE_METRICS), ("Cloud", CLOUD_METRICS))
    buckets = {metric.buckets: None for _, metrics in sides for metric in metrics if metric.buckets}
    return page(
        "Metrics",
        introduction,
        *(section(side, table(HEADER, [_row(metric) for metric in metrics])) for side, metrics in sides),
        section(
            "Buckets",
            table(
                ("upper bounds", "histograms"),
                [(", ".join(f"{bound:g}" for bound in bounds), _names(bounds)) for bounds in buckets],
            ),
        ),
    )


def _row(metric: Metric) -> list[str]:
    labels = [code(name) + (f" ({', '.join(values)})" if values else "") for name, values in metric.labels.items()]
    return [code(metric.name), metric.kind, ", ".join(labels), metric.help]


def _names(bounds: tuple[float, ...]) -> str:
    metrics = [*EDGE_METRICS, *CLOUD_METRICS]
    return ", ".join(code(metric.name) for metric in metrics if metric.buckets == bounds)
