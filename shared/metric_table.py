"""One table with every metric of edge and cloud.

Names, help texts, labels and buckets are defined only here: code, dashboards and tests read this table. The values of a
label are bounded: stages, reasons and sides are listed here, bundles are those that a server has served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

MetricKind = Literal["counter", "gauge", "histogram"]

LATENCY_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
TIMESTEP_BUCKETS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
BYTE_BUCKETS = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384, 65536)
BATCH_BUCKETS = (0.99, 1, 2, 4, 8, 16, 32, 64, 128, 256)
"""The first one keeps quantiles honest: they are drawn evenly over a bucket, and batches of 1 would look like 0.9."""
CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

MOST_CLASSES = 100
"""Values that the label `class` may have; see `class_labels`."""
OTHER_CLASSES = "other"


@dataclass(frozen=True)
class Metric:
    """One row of the table.

    `labels` maps each label to its possible values; () means that only the running process knows them, such as the
    names of its bundles, its classes or its power meter.
    """

    name: str
    kind: MetricKind
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    of_many: Literal["livesum", "livemax"] = "livesum"
    """Of a gauge: what several processes' values come to, of those that run."""


REJECTION_REASONS = ("invalid_frame", "state_lost", "no_slot", "internal", "idle")

REFUSAL_REASONS = (
    *("protocol", "fingerprint", "execution", "unauthenticated"),
    *("too_many", "share", "peer_cap", "penalty", "warming_up", "draining"),
)

EVENT_STREAM_COUNTS = (
    *("packets", "malformed", "dropped_packets", "events", "outside", "cropped", "denoised", "reordered", "late"),
    *("clock_sets", "windows", "dropped_windows"),
)

END_REASONS = ("protocol", "idle", "failed", "revoked")

BUILD_INFO = Metric(
    "neucodex_build_info",
    "gauge",
    "1 for each bundle that a process runs, 0 for one that is retired: the code's version, the beginning of the "
    "bundle's fingerprint, its execution and what computes it.",
    {"version": (), "bundle": (), "fingerprint": (), "execution": (), "runtime": ()},
    of_many="livemax",
)


def _of_a_bundle(*metrics: Metric) -> tuple[Metric, ...]:
    return tuple(replace(metric, labels={**metric.labels, "bundle": ()}) for metric in metrics)


EDGE_METRICS = (
    BUILD_INFO,
    *_of_a_bundle(
        Metric(
            "neucodex_edge_stage_seconds",
            "histogram",
            "Time of one timestep's stage on the edge: head (network), encode (spike codec), send_to_result (frame "
            "sent to result received), and what the cloud reports: queue and tail.",
            {"stage": ("head", "encode", "send_to_result", "queue", "tail")},
            LATENCY_BUCKETS,
        ),
        Metric(
            "neucodex_edge_sample_seconds", "histogram", "From a sample's input to its verdict.", {}, LATENCY_BUCKETS
        ),
        Metric(
            "neucodex_edge_exit_timestep", "histogram", "The timestep at which a sample stopped.", {}, TIMESTEP_BUCKETS
        ),
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
            "Samples by outcome: answered by the cloud or by the edge itself, still (nothing happens in it and nothing "
            "was sent), unreadable, or failed.",
            {"outcome": ("cloud", "edge", "still", "unreadable", "failed")},
        ),
        Metric(
            "neucodex_edge_predictions_total",
            "counter",
            f"Verdicts by class; of more than {MOST_CLASSES} classes the last ones together are `{OTHER_CLASSES}`.",
            {"class": ()},
        ),
        Metric("neucodex_edge_confidence", "histogram", "Confidence of the verdicts.", {}, CONFIDENCE_BUCKETS),
        Metric(
            "neucodex_edge_rejections_total",
            "counter",
            "Samples that the cloud rejected, by reason.",
            {"reason": REJECTION_REASONS},
        ),
        Metric(
            "neucodex_edge_local_answers_total",
            "counter",
            "Verdicts of the edge's own exit: before anything was sent because it was sure, or because there was no "
            "cloud.",
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
        Metric(
            "neucodex_edge_event_stream_total",
            "counter",
            "What happened to live events: packets read, malformed ones and those that the system dropped; events "
            "read, outside the sensor or the region, left out as noise, put back in order, too late; times that the "
            "sender's clock was set; windows, and windows dropped because too many waited.",
            {"what": EVENT_STREAM_COUNTS},
        ),
        Metric(
            "neucodex_edge_busy_core_seconds_total",
            "counter",
            "Processor time of the edge's process while it classified: of two busy cores twice the time that passed.",
        ),
        Metric(
            "neucodex_edge_sampled_seconds_total",
            "counter",
            "Time in which it classified, from asking for the first sample to the last verdict.",
        ),
        Metric(
            "neucodex_edge_packets_total",
            "counter",
            "Messages of samples, a packet each: sent and received. Acknowledgements by themselves are not in it.",
            {"way": ("sent", "received")},
        ),
        Metric(
            "neucodex_edge_board_joules_total",
            "counter",
            "Energy of samples at the stated power of the board that was named (shared/boards.json): processor time, "
            "packets and bytes, and the idle board.",
            {"part": ("compute", "radio", "idle")},
        ),
        Metric("neucodex_edge_reconnects_total", "counter", "Streams opened again after one was lost."),
        Metric(
            "neucodex_edge_mqtt_messages_total",
            "counter",
            "Verdicts for the broker: acknowledged, or dropped because too many waited for it.",
            {"outcome": ("acknowledged", "dropped")},
        ),
        Metric("neucodex_edge_mqtt_waiting", "gauge", "Verdicts that the broker has not acknowledged yet."),
        Metric("neucodex_edge_mqtt_connected", "gauge", "1 while there is a connection to the broker, else 0."),
        Metric("neucodex_edge_connected", "gauge", "1 while a stream to the cloud is open, else 0."),
    ),
)

CLOUD_METRICS = (
    BUILD_INFO,
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
    Metric(
        "neucodex_cloud_ended_streams_total",
        "counter",
        "Open streams that the cloud ended: for bytes that are no message, for having no sample while streams were "
        "scarce, for a token that was taken back, or for a failure of its own.",
        {"reason": END_REASONS},
    ),
    Metric(
        "neucodex_cloud_limited_total",
        "counter",
        "How often an edge was refused because it had its share, and what the edge is known by.",
        {"limit": ("streams", "slots", "queue"), "by": ("certificate", "token", "address")},
    ),
    Metric(
        "neucodex_cloud_ended_connections_total",
        "counter",
        "Connections that the cloud ended before a stream of theirs was accepted, for the bytes that they sent or for "
        "being too many for long.",
        {"reason": ("bytes", "crowd")},
    ),
    Metric("neucodex_cloud_connected_total", "counter", "Streams that were opened."),
)


def class_labels(class_names: Sequence[str]) -> tuple[str, ...]:
    """For each class the value of the label `class`: its name, or `other` where a bundle has more than MOST_CLASSES."""
    if len(class_names) <= MOST_CLASSES:
        return tuple(class_names)
    named = MOST_CLASSES - 1
    return (*class_names[:named], *[OTHER_CLASSES] * (len(class_names) - named))
