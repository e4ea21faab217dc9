"""The metrics of a process: made from a table of `shared.metric_table`, updated by name, exported over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from shared.metric_table import Metric
from shared.metrics_page import OPEN_PAGE, PageSecurity, serve_page

# A `_created` for each series would nearly double their number; nothing reads it.
disable_created_metrics()  # type: ignore[no-untyped-call]

Reading = tuple[str, float, Mapping[str, str]]
"""A value for a metric: the metric's name, the value, and its labels."""


class Metrics:
    """The metrics of one process: created from a table, updated by name, exported over HTTP.

    Every combination of label values is created at once, so that a series exists before its first event.

    Args:
        table: the metrics to create.
        labels: values of the labels whose values are not in the table.
        fixed: labels that have one value in this process, which is not said again with each reading.
    """

    def __init__(
        self,
        table: tuple[Metric, ...],
        labels: Mapping[str, tuple[str, ...]] | None = None,
        fixed: Mapping[str, str] | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU, memory, open files; on Linux
        self._table = table
        self._metrics: dict[str, Any] = {}
        self._fixed = {
            metric.name: {label: value for label, value in (fixed or {}).items() if label in metric.labels}
            for metric in table
        }
        for metric in table:
            created: Any
            names = tuple(metric.labels)
            if metric.kind == "histogram":
                created = Histogram(metric.name, metric.help, names, buckets=metric.buckets, registry=self.registry)
            elif metric.kind == "counter":
                created = Counter(metric.name, metric.help, names, registry=self.registry)
            else:
                created = Gauge(
                    metric.name, metric.help, names, registry=self.registry, multiprocess_mode=metric.of_many
                )
            self._metrics[metric.name] = created
        self._create(labels or {})

    def declare_label_values(self, label: str, *values: str) -> None:
        """Create the series for further values of a label, such as the name of a bundle that was loaded."""
        self._create({label: values})

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add one value to a histogram."""
        self._child(name, labels).observe(value)

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        self._child(name, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(name, labels).set(value)

    def record(self, readings: Iterable[Reading]) -> None:
        """Add many values at once, each to a histogram or a counter."""
        for name, value, labels in readings:
            child = self._child(name, labels)
            if isinstance(child, Histogram):
                child.observe(value)
            else:
                child.inc(value)

    def serve(self, host: str, port: int, security: PageSecurity = OPEN_PAGE) -> int:
        """Export at http://host:port/metrics; see `serve_page`."""
        return serve_page(self.registry, host, port, security)

    def _create(self, known: Mapping[str, tuple[str, ...]]) -> None:
        for metric in self._table:
            its = {label: (value,) for label, value in self._fixed[metric.name].items()}
            for values in _combinations(metric, {**known, **its}):
                self._metrics[metric.name].labels(*values)

    def _child(self, name: str, labels: Mapping[str, str]) -> Any:
        metric, known = self._metrics[name], self._fixed[name]
        return metric.labels(**{**known, **labels}) if labels or known else metric


def _combinations(metric: Metric, known: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    combinations: list[tuple[str, ...]] = [()]
    for label, values in metric.labels.items():
        combinations = [(*before, value) for before in combinations for value in values or known.get(label, ())]
    return combinations if metric.labels else []
