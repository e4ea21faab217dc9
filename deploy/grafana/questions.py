"""What the dashboard shows: a row for each question that a person asks, and the panels that answer it."""

from __future__ import annotations

from panels import Panel, Question
from queries import (
    IN_CLOUD,
    INSTANCE,
    OF,
    OURS,
    SAMPLES,
    SENT_TO_ANSWERED,
    buckets,
    mean,
    per_second,
    quantile,
    quantiles,
    share,
    stage_per_sample,
)

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
            {
                "connected": f"sum(neucodex_edge_connected{{{OF}}})",
                "known": f"count(neucodex_edge_connected{{{OF}}})",
            },
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
            {"{{instance}}": f"sum by (instance) (neucodex_cloud_streams{{{INSTANCE}}})"},
        ),
        Panel(
            "CPU",
            "Cores in use by each process.",
            "none",
            {"{{job}} {{instance}}": per_second("process_cpu_seconds_total", "job, instance", OURS)},
        ),
        Panel(
            "Memory",
            "Resident memory of each process.",
            "bytes",
            {"{{job}} {{instance}}": f"sum by (job, instance) (process_resident_memory_bytes{{{OURS}}})"},
        ),
        Panel(
            "Certificates",
            "Days until they run out: each side's own, and the last of the authorities that it trusts.",
            "d",
            {
                "{{instance}} {{of}}": "(min by (instance, of) "
                f"(neucodex_certificate_expiry_timestamp_seconds{{{INSTANCE}}}) - time()) / 86400"
            },
        ),
        Panel(
            "What runs",
            "Version of the code, bundle with the beginning of its fingerprint, execution, and what computes it.",
            "none",
            {"{{instance}}": f"neucodex_build_info{{{OF}}} == 1"},
            "table",
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
            buckets("neucodex_edge_sample_seconds"),
            "heatmap",
        ),
        Panel(
            "Stages in the cloud, p99",
            "Queue: of one frame until its batch. Decode, gather, tail, scatter: of one batch.",
            "s",
            {"{{stage}}": quantile(0.99, "neucodex_cloud_stage_seconds", "stage")},
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

DRIFT = Question(
    "Does it still see what it was trained for?",
    (
        Panel(
            "Predictions by class",
            "Share of the verdicts. Other shares than those of the training samples: another world, or a camera that "
            "was turned.",
            "percentunit",
            {"{{class}}": share("neucodex_edge_predictions_total", "class")},
            "stacked",
            1,
        ),
        Panel(
            "Confidence",
            "Of the verdicts. Falling: inputs are less like those that the network was calibrated on.",
            "percentunit",
            quantiles("neucodex_edge_confidence", (0.1, 0.5, 0.9)),
            most=1,
        ),
        Panel(
            "Verdicts by confidence",
            "How many had which.",
            "percentunit",
            buckets("neucodex_edge_confidence"),
            "heatmap",
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
                "{{bundle}}": f"{per_second('neucodex_cloud_payload_bytes_total', 'bundle')} / "
                f"{per_second('neucodex_cloud_frames_total', 'bundle')}"
            },
        ),
        Panel(
            "Received",
            "Encoded spikes that reach the clouds.",
            "Bps",
            {"{{instance}}": per_second("neucodex_cloud_payload_bytes_total", "instance")},
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
            {"{{instance}}": per_second("neucodex_cloud_frames_total", "instance")},
            "stacked",
        ),
        Panel(
            "Batch size",
            "Samples stepped together: mean, and p90 within its buckets.",
            "none",
            {
                "mean": mean("neucodex_cloud_batch_size"),
                "p90": quantile(0.9, "neucodex_cloud_batch_size"),
            },
        ),
        Panel(
            "Slots in use",
            "Share of the slots that belong to a sample in flight. At 1 samples are rejected with no_slot.",
            "percentunit",
            {"{{instance}} {{bundle}}": f"neucodex_cloud_slots_in_use{{{OF}}} / neucodex_cloud_slots{{{OF}}}"},
            most=1,
        ),
        Panel(
            "Frames that wait",
            "For a batch. Staying high: the device cannot keep up.",
            "none",
            {"{{instance}} {{bundle}}": f"neucodex_cloud_queue_length{{{OF}}}"},
        ),
        Panel(
            "Event loop, p99",
            "How late each cloud's event loop is. With some milliseconds it is what limits the process: add a replica.",
            "s",
            {"{{instance}}": quantile(0.99, "neucodex_cloud_loop_lag_seconds", "instance", INSTANCE)},
        ),
        Panel(
            "Tasks",
            "Of each cloud's event loop.",
            "none",
            {"{{instance}}": f"sum by (instance) (neucodex_cloud_tasks{{{INSTANCE}}})"},
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
            {"{{outcome}}": per_second("neucodex_edge_samples_total", "outcome", f'outcome=~"failed|unreadable",{OF}')},
        ),
        Panel(
            "Rejected by the clouds",
            "Samples, by reason. An edge may try again, so not each of them is lost.",
            "cps",
            {"{{reason}}": per_second("neucodex_cloud_rejections_total", "reason")},
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
            {"{{reason}}": per_second("neucodex_cloud_refused_streams_total", "reason", INSTANCE)},
        ),
        Panel(
            "Streams opened again",
            "By edges that lost one: a cloud that drains or died, or a link that breaks.",
            "cps",
            {"all edges": per_second("neucodex_edge_reconnects_total")},
        ),
        Panel(
            "Verdicts by MQTT",
            "Acknowledged by the broker, or dropped because too many waited for it.",
            "cps",
            {"{{outcome}}": per_second("neucodex_edge_mqtt_messages_total", "outcome")},
        ),
    ),
)

HOSTILE = Question(
    "Who takes more than a share, or should not be here?",
    (
        Panel(
            "Edges at their share",
            "Times that an edge got no more streams, slots or places in the queue. The clouds' logs name it.",
            "cps",
            {"{{limit}}, by {{by}}": per_second("neucodex_cloud_limited_total", "limit, by", INSTANCE)},
        ),
        Panel(
            "Streams ended",
            "By the clouds, by reason: no message (protocol), idle while streams were scarce, a token that was taken "
            "back, a failure of the cloud's own.",
            "cps",
            {"{{reason}}": per_second("neucodex_cloud_ended_streams_total", "reason", INSTANCE)},
        ),
        Panel(
            "Connections ended before a stream",
            "For the bytes that they sent, or for being too many for long.",
            "cps",
            {"{{reason}}": per_second("neucodex_cloud_ended_connections_total", "reason", INSTANCE)},
        ),
        Panel(
            "Streams opened",
            "Each has a line in the log of its cloud. Far more than edges that come and go is somebody trying.",
            "cps",
            {"all clouds": per_second("neucodex_cloud_connected_total", where=INSTANCE)},
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
            "By the board's stated power",
            "Mean joules of a sample: the edge's own processor time, its packets, and the idle board for as long as it "
            "took, times the watts and joules that shared/boards.json states for the board named by --board.",
            "joule",
            {
                "{{part}}": f"{per_second('neucodex_edge_board_joules_total', 'part')} "
                f"/ ignoring (part) group_left {SAMPLES}"
            },
            "stacked",
        ),
        Panel(
            "Processor time of a sample",
            "Mean seconds of a core that the edge's process computed for a sample.",
            "s",
            {"busy": f"{per_second('neucodex_edge_busy_core_seconds_total')} / {SAMPLES}"},
        ),
        Panel(
            "Packets of a sample",
            "Mean messages of a sample, which are a packet each.",
            "none",
            {"{{way}}": f"{per_second('neucodex_edge_packets_total', 'way')} / ignoring (way) group_left {SAMPLES}"},
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

QUESTIONS = (UP, TIME, EXIT, DRIFT, BYTES, LOAD, FAILS, HOSTILE, ENERGY)
