"""What the dashboard shows: a row for each question that a person asks, and the panels that answer it.

Metrics are those of shared/metrics.py. `$bundle` is the dashboard's, see dashboard.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PanelKind = Literal["number", "lines", "stacked", "heatmap"]
RATE = "[$__rate_interval]"
BUNDLE = '{bundle=~"$bundle"}'


@dataclass(frozen=True)
class Panel:
    """One panel. `unit` is Grafana's name of it; `queries` maps a legend to the PromQL of its lines."""

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


def per_second(metric: str, by: str = "") -> str:
    """A counter's rate, summed up to the labels `by`."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({metric}{RATE}))"


def mean(histogram: str, labels: str = "", by: str = "") -> str:
    """The mean of what a histogram saw."""
    return f"{per_second(f'{histogram}_sum{labels}', by)} / {per_second(f'{histogram}_count{labels}', by)}"


def quantile(share: float, histogram: str, labels: str = "", by: str = "") -> str:
    """A quantile of what a histogram saw, within its buckets."""
    return f"histogram_quantile({share}, {per_second(f'{histogram}_bucket{labels}', f'le, {by}' if by else 'le')})"


def quantiles(histogram: str, labels: str = "") -> dict[str, str]:
    """Median and tails."""
    return {f"p{round(share * 100)}": quantile(share, histogram, labels) for share in (0.5, 0.9, 0.99)}


SAMPLES = per_second("neucodex_edge_sample_seconds_count")
STAGE = "neucodex_edge_stage_seconds"


def stage_per_sample(matcher: str) -> str:
    """Seconds that a stage takes of a sample, over all its timesteps; the sum over the stages that match."""
    return f"{per_second(f'{STAGE}_sum{{{matcher}}}')} / {SAMPLES}"


SENT_TO_ANSWERED = stage_per_sample('stage="send_to_result"')
IN_CLOUD = stage_per_sample('stage=~"queue|tail"')

UP = Question(
    "Is it up?",
    (
        Panel(
            "Clouds up",
            "Cloud processes that answer Prometheus.",
            "none",
            {"clouds": '(count(up{job="neucodex-cloud"} == 1) or vector(0))'},
            "number",
        ),
        Panel(
            "Edges connected",
            "Edges with an open stream to a cloud, of those that Prometheus reads.",
            "none",
            {"connected": "sum(neucodex_edge_connected)", "known": "count(neucodex_edge_connected)"},
            "number",
        ),
        Panel(
            "Samples",
            "Samples answered or given up each second, by outcome.",
            "cps",
            {"{{outcome}}": per_second("neucodex_edge_samples_total", "outcome")},
            "stacked",
        ),
        Panel(
            "Streams of each cloud",
            "Open streams. Uneven lines: new edges are not spread, or a replica has just been added.",
            "none",
            {"{{instance}}": "sum by (instance) (neucodex_cloud_streams)"},
        ),
        Panel(
            "CPU",
            "Cores in use by each process.",
            "none",
            {"{{job}} {{instance}}": per_second('process_cpu_seconds_total{job=~"neucodex-.*"}', "job, instance")},
        ),
        Panel(
            "Memory",
            "Resident memory of each process.",
            "bytes",
            {"{{job}} {{instance}}": 'sum by (job, instance) (process_resident_memory_bytes{job=~"neucodex-.*"})'},
        ),
    ),
)

TIME = Question(
    "How long does a sample take, and where does the time go?",
    (
        Panel(
            "Sample",
            "From a sample's input to its verdict, on the edge's clock.",
            "s",
            quantiles("neucodex_edge_sample_seconds"),
        ),
        Panel(
            "Where a sample's time goes",
            "Mean seconds of a sample by stage, over its timesteps. Link is what lies between sending a frame and "
            "its result, without queue and tail: gRPC, the network, decoding. With lookahead stages overlap, and their "
            "sum is more than the sample's time.",
            "s",
            {
                "head": stage_per_sample('stage="head"'),
                "encode": stage_per_sample('stage="encode"'),
                "link": f"{SENT_TO_ANSWERED} - {IN_CLOUD}",
                "queue": stage_per_sample('stage="queue"'),
                "tail": stage_per_sample('stage="tail"'),
            },
            "stacked",
        ),
        Panel(
            "Samples by time",
            "How many samples took how long.",
            "s",
            {"{{le}}": f"sum by (le) (increase(neucodex_edge_sample_seconds_bucket{RATE}))"},
            "heatmap",
        ),
        Panel(
            "Stages in the cloud, p99",
            "Queue: of one frame until its batch. Decode, gather, tail, scatter: of one batch.",
            "s",
            {"{{stage}}": quantile(0.99, "neucodex_cloud_stage_seconds", BUNDLE, "stage")},
        ),
    ),
)

EXIT = Question(
    "How early do we stop?",
    (
        Panel(
            "Mean timestep of the exit",
            "Timesteps that a sample took. Rising: pictures are harder than those that the exit was calibrated on.",
            "none",
            {"timesteps": mean("neucodex_edge_exit_timestep")},
        ),
        Panel(
            "Stopped by timestep",
            "Share of the samples that stopped at this timestep or before.",
            "percentunit",
            {
                "t <= {{le}}": f"{per_second('neucodex_edge_exit_timestep_bucket', 'le')} / ignoring (le) group_left "
                f"{per_second('neucodex_edge_exit_timestep_count')}"
            },
            most=1,
        ),
        Panel(
            "Answered by the edge itself",
            "Share of the verdicts that the local exit gave: because it was sure, or because there was no cloud.",
            "percentunit",
            {
                "{{reason}}": f"{per_second('neucodex_edge_local_answers_total', 'reason')} "
                f"/ ignoring (reason) group_left {SAMPLES}"
            },
            most=1,
        ),
    ),
)

BYTES = Question(
    "How many bytes does a sample cost?",
    (
        Panel(
            "Bytes of a sample",
            "Mean. Payload: encoded spikes. Wire: with messages, gRPC and HTTP/2 framing.",
            "bytes",
            {"payload": mean("neucodex_edge_payload_bytes"), "wire": mean("neucodex_edge_wire_bytes")},
        ),
        Panel("Payload of a sample", "Encoded spikes.", "bytes", quantiles("neucodex_edge_payload_bytes")),
        Panel(
            "Bytes of a frame",
            "Mean size of a timestep's spikes as received. Rising: more spikes than the codec's tables were fitted to.",
            "bytes",
            {
                "{{bundle}}": f"{per_second(f'neucodex_cloud_payload_bytes_total{BUNDLE}', 'bundle')} / "
                f"{per_second(f'neucodex_cloud_frames_total{BUNDLE}', 'bundle')}"
            },
        ),
        Panel(
            "Received",
            "Encoded spikes that reach the clouds.",
            "Bps",
            {"{{instance}}": per_second(f"neucodex_cloud_payload_bytes_total{BUNDLE}", "instance")},
            "stacked",
        ),
    ),
)

LOAD = Question(
    "How full are batches, slots and queues?",
    (
        Panel(
            "Frames answered",
            "Timesteps of samples, each second.",
            "cps",
            {"{{instance}}": per_second(f"neucodex_cloud_frames_total{BUNDLE}", "instance")},
            "stacked",
        ),
        Panel(
            "Batch size",
            "Samples stepped together: mean, and p90 within its buckets.",
            "none",
            {
                "mean": mean("neucodex_cloud_batch_size", BUNDLE),
                "p90": quantile(0.9, "neucodex_cloud_batch_size", BUNDLE),
            },
        ),
        Panel(
            "Slots in use",
            "Share of the slots that belong to a sample in flight. At 1 samples are rejected with no_slot.",
            "percentunit",
            {"{{instance}} {{bundle}}": f"neucodex_cloud_slots_in_use{BUNDLE} / neucodex_cloud_slots{BUNDLE}"},
            most=1,
        ),
        Panel(
            "Frames that wait",
            "For a batch. Staying high: the device cannot keep up.",
            "none",
            {"{{instance}} {{bundle}}": f"neucodex_cloud_queue_length{BUNDLE}"},
        ),
        Panel(
            "Event loop, p99",
            "How late each cloud's event loop is. With some milliseconds it is what limits the process: add a replica.",
            "s",
            {"{{instance}}": quantile(0.99, "neucodex_cloud_loop_lag_seconds", by="instance")},
        ),
        Panel(
            "Tasks", "Of each cloud's event loop.", "none", {"{{instance}}": "sum by (instance) (neucodex_cloud_tasks)"}
        ),
    ),
)

FAILS = Question(
    "What fails?",
    (
        Panel(
            "Samples without a verdict",
            "Given up, or never readable.",
            "cps",
            {"{{outcome}}": per_second('neucodex_edge_samples_total{outcome=~"failed|unreadable"}', "outcome")},
        ),
        Panel(
            "Rejected by the clouds",
            "Samples, by reason. An edge may try again, so not each of them is lost.",
            "cps",
            {"{{reason}}": per_second(f"neucodex_cloud_rejections_total{BUNDLE}", "reason")},
        ),
        Panel(
            "Rejections seen by the edges",
            "Samples, by reason.",
            "cps",
            {"{{reason}}": per_second("neucodex_edge_rejections_total", "reason")},
        ),
        Panel(
            "Streams refused",
            "When they opened, by reason.",
            "cps",
            {"{{reason}}": per_second("neucodex_cloud_refused_streams_total", "reason")},
        ),
        Panel(
            "Streams opened anew",
            "By edges that lost one: a cloud that drains or died, or a link that breaks.",
            "cps",
            {"all edges": per_second("neucodex_edge_reconnects_total")},
        ),
    ),
)

ENERGY = Question(
    "What energy does a sample cost the edge?",
    (
        Panel(
            "Modelled",
            "Mean joules of a sample by the model of docs/energy.md: operations of the network on 45 nm, and bytes and "
            "waiting on the radio that the edge was told of (--radio). For comparisons, not for a battery.",
            "joule",
            {
                "{{part}}": f"{per_second('neucodex_edge_modelled_joules_total', 'part')} "
                f"/ ignoring (part) group_left {SAMPLES}"
            },
            "stacked",
        ),
        Panel(
            "Measured",
            "Mean joules of a sample by the edges' own meters: all that is behind them, waiting and other programs "
            "included. Empty where no edge has a meter.",
            "joule",
            {
                "{{meter}}": f"{per_second('neucodex_edge_measured_joules_total', 'meter')} "
                f"/ ignoring (meter) group_left {SAMPLES}"
            },
        ),
        Panel(
            "Power, measured",
            "Watts of the edges that have a meter.",
            "watt",
            {"{{meter}}": per_second("neucodex_edge_measured_joules_total", "meter")},
        ),
    ),
)

QUESTIONS = (UP, TIME, EXIT, BYTES, LOAD, FAILS, ENERGY)
