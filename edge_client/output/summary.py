"""The arithmetic of a run: verdicts in, one table of figures out. Pure; the demo and the benchmarks use it too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, get_args

import numpy as np

from edge_client.inference.verdict import AnsweredBy, Step, Verdict, exit_step
from edge_client.inputs.images import FORMATS
from shared.exit_policy import Threshold
from shared.manifest import Manifest
from shared.network_spec import FLOAT_BITS

STAGES = ("head", "encode", "send_to_result", "queue", "tail")

Summary = dict[str, Any]
"""Plain values for JSON. Keys, units and meaning stand in docs/edge.md; a figure that does not exist is None."""


@dataclass(frozen=True)
class Classified:
    """One sample with its verdict, and the bytes of the same picture in each format where that was asked for."""

    label: int | None
    verdict: Verdict
    picture_bytes: Mapping[str, int] | None = None


@dataclass(frozen=True)
class RunFacts:
    """What a summary says of the run itself. `seconds` is from asking for the first sample to the last one's end."""

    failed: int
    unreadable: int
    seconds: float
    full_t: bool
    simulated: bool
    measure: str
    threshold: Threshold
    reconnects: int = 0
    radio: str = "none"
    board: str | None = None
    forgotten: int = 0
    """Verdicts before the last ones; the figures cover only the last ones."""
    still: int = 0
    """Samples in which nothing happens; they have no verdict."""
    stream: Mapping[str, int] | None = None
    """What happened to live events on their way to samples."""


def summarise(done: Sequence[Classified], manifest: Manifest, facts: RunFacts) -> Summary:
    """All figures of a run.

    With `full_t` the accuracy is that at timestep T, and `accuracy_early_exit` and `mean_exit_timestep` say what the
    same results give when every sample stops at its first certain timestep; latency and bytes are those of all T.
    """
    verdicts = [sample.verdict for sample in done]
    latencies_ms = [verdict.latency_s * 1000 for verdict in verdicts]
    return {
        "samples": len(done),
        "forgotten": facts.forgotten,
        "failed": facts.failed,
        "unreadable": facts.unreadable,
        "still": facts.still,
        "labelled": sum(sample.label is not None for sample in done),
        "accuracy": _accuracy(done, [verdict.prediction for verdict in verdicts]),
        **(_early(done) if facts.full_t else {}),
        "mean_timesteps": _mean([verdict.timesteps for verdict in verdicts]),
        "timesteps": manifest.network.timesteps,
        "exits": {str(t): n for t, n in sorted(Counter(verdict.timesteps for verdict in verdicts).items())},
        "answered_by": {by: sum(verdict.answered_by == by for verdict in verdicts) for by in get_args(AnsweredBy)},
        "reconnects": facts.reconnects,
        "full_t": facts.full_t,
        "measure": facts.measure,
        "threshold": facts.threshold,
        **_bytes(done, manifest),
        **_energy(verdicts, facts),
        "latency_ms_p50": _quantile(latencies_ms, 50),
        "latency_ms_p99": _quantile(latencies_ms, 99),
        "stage_ms_p50": stage_medians_ms([step for verdict in verdicts for step in verdict.steps]),
        "seconds": facts.seconds,
        "bundle": manifest.name,
        "simulated": facts.simulated,
        "stream": None if facts.stream is None else dict(facts.stream),
    }


def stage_medians_ms(steps: Sequence[Step]) -> dict[str, float | None]:
    """The median of each stage over all timesteps, in milliseconds."""
    return {stage: _quantile([getattr(step, f"{stage}_s") * 1000 for step in steps], 50) for stage in STAGES}


def _early(done: Sequence[Classified]) -> Summary:
    # What the edge answered itself stopped where it stopped.
    exits = [
        exit_step(verdict.steps) if verdict.answered_by == "cloud" else verdict
        for verdict in (sample.verdict for sample in done)
    ]
    return {
        "accuracy_early_exit": _accuracy(done, [step.prediction for step in exits]),
        "mean_exit_timestep": _mean([step.timestep if isinstance(step, Step) else step.timesteps for step in exits]),
    }


def _bytes(done: Sequence[Classified], manifest: Manifest) -> Summary:
    """Payload bytes and what they are compared with.

    Per timestep the float32 ratio is bits of the float32 feature map at the split to bits of a frame. The others are
    ratios of sums over the run: of the split's spikes as plain bits for the timesteps used, and of the same pictures as
    files, to the encoded spikes that were really sent. `picture_size` says how large those pictures are.
    """
    sent = sum(sample.verdict.payload_bytes for sample in done)
    packed = prod(manifest.split_shape) / 8 * sum(sample.verdict.timesteps for sample in done)
    compared = [(sample.picture_bytes, sample.verdict.payload_bytes) for sample in done if sample.picture_bytes]
    sent_of_compared = sum(payload for _, payload in compared)
    files = {form: sum(sizes[form] for sizes, _ in compared) for form in FORMATS}
    return {
        "payload_bytes_per_sample": _ratio(sent, len(done)),
        "message_bytes_per_sample": _ratio(sum(sample.verdict.message_bytes for sample in done), len(done)),
        "wire_bytes_per_sample": _ratio(sum(sample.verdict.wire_bytes for sample in done), len(done)),
        "picture_size": " x ".join(map(str, manifest.network.input_shape[1:])),
        **{f"{form}_bytes_per_sample": _ratio(total, len(compared)) for form, total in files.items()},
        "ratio_float32_feature_map": FLOAT_BITS * prod(manifest.split_shape) / prod(manifest.frame_shape),
        "ratio_packed_spikes": _ratio(packed, sent),
        **{f"ratio_{form}": _ratio(total, sent_of_compared) for form, total in files.items()},
    }


def _energy(verdicts: Sequence[Verdict], facts: RunFacts) -> Summary:
    """Joules of a sample on average: by the model, by the meter if there was one, and by the board if one was named."""
    energies = [verdict.energy for verdict in verdicts if verdict.energy is not None]
    modelled = [energy.modelled for energy in energies if energy.modelled is not None]
    measured = [energy.measured for energy in energies if energy.measured is not None]
    boards = [energy.board for energy in energies if energy.board is not None]
    return {
        "modelled_compute_j_per_sample": _mean([energy.compute_j for energy in modelled]),
        "modelled_radio_j_per_sample": _mean([energy.radio_j for energy in modelled]),
        "radio": facts.radio,
        "measured_j_per_sample": _mean([energy.joules for energy in measured]),
        "meter": measured[0].meter if measured else None,
        "busy_core_s_per_sample": _mean([energy.time.busy_core_s for energy in energies]),
        "packets_sent_per_sample": _mean([energy.traffic.sent_packets for energy in energies]),
        "packets_received_per_sample": _mean([energy.traffic.received_packets for energy in energies]),
        "board": facts.board,
        "board_dynamic_j_per_sample": _mean([board.dynamic_j for board in boards]),
        "board_total_j_per_sample": _mean([board.total_j for board in boards]),
    }


def _accuracy(done: Sequence[Classified], predictions: Sequence[int]) -> float | None:
    right = [sample.label == guess for sample, guess in zip(done, predictions, strict=True) if sample.label is not None]
    return _mean(right)


def _mean(values: Sequence[float]) -> float | None:
    return _ratio(sum(values), len(values))


def _ratio(value: float, by: float) -> float | None:
    return value / by if by else None


def _quantile(values: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None
