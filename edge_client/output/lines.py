"""A sample's outcome as values for JSON: what `--json`, `--out` and `--mqtt` write. docs/edge.md has the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.inputs.base import Still
from shared.timestamps import rfc3339

SCHEMA = 1
"""Of the lines. It grows when a field goes or changes its meaning; a field that is added does not change it."""

ENERGY_FIELDS = (
    *("modelled_compute_j", "modelled_radio_j", "measured_j"),
    *("busy_core_s", "board_dynamic_j", "board_total_j"),
)

Line = Mapping[str, Any]


def verdict_line(sample: Sample, verdict: Verdict, class_names: Sequence[str]) -> Line:
    """A verdict."""
    return {
        **_begin(sample, class_names, verdict.answered_at),
        "prediction": class_names[verdict.prediction],
        "confidence": verdict.confidence,
        "top_k": [{"class": class_names[index], "confidence": share} for index, share in verdict.top_k],
        "timesteps": verdict.timesteps,
        "payload_bytes": verdict.payload_bytes,
        "latency_ms": verdict.latency_s * 1000,
        "answered_by": verdict.answered_by,
        **energy_fields(verdict),
    }


def failed_line(sample: Sample, reason: str, class_names: Sequence[str], at: float) -> Line:
    """A sample that got no verdict, given up at this moment: the fields of a verdict, null, and `error`."""
    names = ("prediction", "confidence", "top_k", "timesteps", "payload_bytes", "latency_ms", "answered_by")
    return {**_begin(sample, class_names, at), **dict.fromkeys((*names, *ENERGY_FIELDS)), "error": reason}


def still_line(still: Still, class_names: Sequence[str], at: float) -> Line:
    """A sample in which nothing happens: the fields of a verdict, null, no byte, and `still`."""
    names = ("prediction", "confidence", "top_k", "timesteps", "payload_bytes", "latency_ms", "answered_by")
    nothing = {**dict.fromkeys((*names, *ENERGY_FIELDS)), "payload_bytes": 0}
    return {**_begin(still.sample, class_names, at), **nothing, "still": True, "changed": still.changed}


def summary_line(figures: Line) -> Line:
    """The end of a run."""
    return {"schema": SCHEMA, "summary": figures}


def energy_fields(verdict: Verdict) -> dict[str, float | None]:
    """Joules of a sample, those of model, meter and board never under one name; None: not known."""
    energy = verdict.energy
    modelled, measured, board = (energy.modelled, energy.measured, energy.board) if energy else (None, None, None)
    values = (
        modelled.compute_j if modelled else None,
        modelled.radio_j if modelled else None,
        measured.joules if measured else None,
        energy.time.busy_core_s if energy else None,
        board.dynamic_j if board else None,
        board.total_j if board else None,
    )
    return dict(zip(ENERGY_FIELDS, values, strict=True))


def _begin(sample: Sample, class_names: Sequence[str], at: float) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "sample": sample.name,
        "time": rfc3339(at),
        "input_time": None if sample.taken_at is None else rfc3339(sample.taken_at),
        "label": None if sample.label is None else class_names[sample.label],
        **({} if sample.time_s is None else {"time_s": sample.time_s}),
    }
