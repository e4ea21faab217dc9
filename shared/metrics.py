"""One table with every metric of edge and cloud, and the exporter.

Names, help texts, labels and buckets are defined only here: code, dashboards and tests read this table. The values of a
label are bounded: stages, reasons and sides are listed here, bundles are those that a server has loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from shared.errors import ConfigError

MetricKind = Literal["counter", "gauge", "histogram"]

Reading = tuple[str, float, Mapping[str, str]]
"""A value for a metric: the metric's name, the value, and its labels."""

LATENCY_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
TIMESTEP_BUCKETS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
BYTE_BUCKETS = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384, 65536)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Metric:
    """One row of the table.

    `labels` maps each label to its possible values; () means that only the running process knows them, such as the
    names of its bundles or its power meter.
    """

    name: str
    kind: MetricKind
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


REJECTION_REASONS = ("invalid_frame", "state_lost", "no_slot", "internal", "idle")

REFUSAL_REASONS = (
    *("protocol", "fingerprint", "execution", "unauthenticated"),
    *("too_many", "peer_cap", "warming_up", "draining"),
)

EDGE_METRICS = (
    Metric(
        "neucodex_edge_stage_seconds",
        "histogram",
        "Time of one timestep's stage on the edge: head (network), encode (spike codec), send_to_result (frame sent to "
        "result received), and what the cloud reports of it: queue and tail.",
        {"stage": ("head", "encode", "send_to_result", "queue", "tail")},
        LATENCY_BUCKETS,
    ),
    Metric("neucodex_edge_sample_seconds", "histogram", "From a sample's input to its verdict.", {}, LATENCY_BUCKETS),
    Metric("neucodex_edge_exit_timestep", "histogram", "The timestep at which a sample stopped.", {}, TIMESTEP_BUCKETS),
    Metric("neucodex_edge_payload_bytes", "histogram", "Encoded spikes sent for one sample.", {}, BYTE_BUCKETS),
    Metric(
        "neucodex_edge_wire_bytes",
        "histogram",
        "Bytes sent for one sample with messages, gRPC and HTTP/2 framing.",
        {},
        BYTE_BUCKETS,
    ),
    Metric(
        "neucodex_edge_samples_total",
        "counter",
        "Samples by outcome: answered by the cloud or by the edge itself, unreadable, or failed.",
        {"outcome": ("cloud", "edge", "unreadable", "failed")},
    ),
    Metric(
        "neucodex_edge_rejections_total",
        "counter",
        "Samples that the cloud rejected, by reason.",
        {"reason": REJECTION_REASONS},
    ),
    Metric(
        "neucodex_edge_local_answers_total",
        "counter",
        "Verdicts of the edge's own exit: before anything was sent because it was sure, or because there was no cloud.",
        {"reason": ("sure", "fallback")},
    ),
    Metric(
        "neucodex_edge_modelled_joules_total",
        "counter",
        "Energy of samples by the model of shared/energy.py: operations, and bytes and waiting on the radio.",
        {"part": ("compute", "radio")},
    ),
    Metric(
        "neucodex_edge_measured_joules_total",
        "counter",
        "Energy counted by the power meter of the edge's machine, of everything that the meter measures.",
        {"meter": ()},
    ),
    Metric("neucodex_edge_reconnects_total", "counter", "Streams opened again after one was lost."),
    Metric("neucodex_edge_connected", "gauge", "1 while a stream to the cloud is open, else 0."),
)

CLOUD_METRICS = (
    Metric(
        "neucodex_cloud_stage_seconds",
        "histogram",
        "Time of a stage in the cloud: queue (of one frame, until its batch); decode (of the frames decoded together, "
        "with their batch or ahead of it); gather, tail and scatter (of one batch).",
        {"stage": ("queue", "decode", "gather", "tail", "scatter"), "bundle": ()},
        LATENCY_BUCKETS,
    ),
    Metric("neucodex_cloud_batch_size", "histogram", "Samples stepped together.", {"bundle": ()}, BATCH_BUCKETS),
    Metric("neucodex_cloud_frames_total", "counter", "Frames answered with a step result.", {"bundle": ()}),
    Metric("neucodex_cloud_payload_bytes_total", "counter", "Encoded spikes received.", {"bundle": ()}),
    Metric("neucodex_cloud_streams", "gauge", "Open streams."),
    Metric(
        "neucodex_cloud_loop_lag_seconds",
        "histogram",
        "How late the event loop is, once a second: with some milliseconds it is what limits the cloud.",
        {},
        LATENCY_BUCKETS,
    ),
    Metric("neucodex_cloud_tasks", "gauge", "Tasks of the event loop, once a second."),
    Metric("neucodex_cloud_slots", "gauge", "Slots that exist.", {"bundle": ()}),
    Metric("neucodex_cloud_slots_in_use", "gauge", "Slots that belong to a sample in flight.", {"bundle": ()}),
    Metric("neucodex_cloud_queue_length", "gauge", "Frames that wait for a batch, once a second.", {"bundle": ()}),
    Metric(
        "neucodex_cloud_rejections_total",
        "counter",
        "Samples rejected, by reason.",
        {"reason": REJECTION_REASONS, "bundle": ()},
    ),
    Metric(
        "neucodex_cloud_refused_streams_total",
        "counter",
        "Streams refused when they opened, by reason.",
        {"reason": REFUSAL_REASONS},
    ),
)


class Metrics:
    """The metrics of one process: created from a table, updated by name, exported over HTTP.

    Every combination of label values is created at once, so that a series exists before its first event.

    Args:
        table: the metrics to create.
        labels: values of the labels whose values are not in the table.
    """

    def __init__(self, table: tuple[Metric, ...], labels: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU, memory, open files; on Linux
        self._table = table
        self._metrics: dict[str, Any] = {}
        for metric in table:
            created: Any
            names = tuple(metric.labels)
            if metric.kind == "histogram":
                created = Histogram(metric.name, metric.help, names, buckets=metric.buckets, registry=self.registry)
            elif metric.kind == "counter":
                created = Counter(metric.name, metric.help, names, registry=self.registry)
            else:
                # With several processes: the sum over those that run.
                created = Gauge(metric.name, metric.help, names, registry=self.registry, multiprocess_mode="livesum")
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

    def serve(self, host: str, port: int) -> int:
        """Export at http://host:port/metrics from a daemon thread; port 0 takes a free port.

        Returns:
            The port.

        Raises:
            ConfigError: the port is taken, or the host is not an address of this machine.
        """
        return export(self.registry, host, port)

    def _create(self, known: Mapping[str, tuple[str, ...]]) -> None:
        for metric in self._table:
            for values in _combinations(metric, known):
                self._metrics[metric.name].labels(*values)

    def _child(self, name: str, labels: Mapping[str, str]) -> Any:
        metric = self._metrics[name]
        return metric.labels(**labels) if labels else metric


def export(registry: CollectorRegistry, host: str, port: int) -> int:
    """Export any registry, as `Metrics.serve` does."""
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise ConfigError(
            f"cannot serve metrics on {host}:{port} ({error.strerror}); choose another address with --metrics"
        ) from None
    return int(server.server_port)


def _combinations(metric: Metric, known: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    combinations: list[tuple[str, ...]] = [()]
    for label, values in metric.labels.items():
        combinations = [(*before, value) for before in combinations for value in values or known.get(label, ())]
    return combinations if metric.labels else []
