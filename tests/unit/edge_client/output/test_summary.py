"""The figures of a run, from verdicts made up to be easy to reckon with."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Step, Verdict, exit_step
from edge_client.inputs.base import Unreadable
from edge_client.output.report import JsonReport, StatusLine, TextReport, summary_rows
from edge_client.output.summary import Classified, RunFacts, summarise
from tests.unit.edge_client.fakes import sample
from tests.unit.edge_client.manifests import manifest

MANIFEST = manifest()
NAMES = MANIFEST.class_names


def facts(**changes: object) -> RunFacts:
    values = {
        "failed": 0,
        "unreadable": 0,
        "seconds": 2.0,
        "full_t": False,
        "simulated": False,
        "measure": "max_probability",
        "threshold": 0.9,
    }
    return RunFacts(**{**values, **changes})  # type: ignore[arg-type]


def step(timestep: int, prediction: int, certain: bool) -> Step:
    return Step(timestep, prediction, 0.5, certain, 0.001 * timestep, 0.0001, 0.01, 0.002, 0.003, 1)


def verdict(predictions: list[int], certain_at: int | None = None, ms: float = 10.0) -> Verdict:
    steps = tuple(step(t, guess, t == certain_at) for t, guess in enumerate(predictions, 1))
    return Verdict(0, predictions[-1], 0.5, len(steps), 8 * len(steps), ms / 1000, "cloud", steps)


def test_figures_of_a_run_with_early_exit() -> None:
    done = [
        Classified(3, verdict([3], 1, ms=10.0), {"png": 400, "jpeg": 200, "webp": 100}),
        Classified(3, verdict([3, 4, 4], 3, ms=30.0), {"png": 600, "jpeg": 400, "webp": 300}),
        Classified(None, verdict([1, 1], 2, ms=20.0), {"png": 500, "jpeg": 300, "webp": 200}),
    ]
    figures = summarise(done, MANIFEST, facts(failed=1, unreadable=2))
    assert figures["samples"] == 3
    assert (figures["failed"], figures["unreadable"], figures["labelled"]) == (1, 2, 2)
    assert figures["accuracy"] == 0.5
    assert figures["mean_timesteps"] == 2.0
    assert figures["exits"] == {"1": 1, "2": 1, "3": 1}
    assert figures["payload_bytes_per_sample"] == 16.0
    assert figures["ratio_float32_feature_map"] == 32 * 16 * 32 * 32 / 64
    assert figures["ratio_packed_spikes"] == (16 * 32 * 32 / 8) / 8
    assert figures["picture_size"] == "16 x 16"
    assert figures["png_bytes_per_sample"] == 500.0
    assert figures["ratio_png"] == 1500 / 48
    assert figures["ratio_jpeg"] == 900 / 48
    assert figures["ratio_webp"] == 600 / 48
    assert figures["latency_ms_p50"] == pytest.approx(20.0)
    assert figures["latency_ms_p99"] == pytest.approx(29.8)
    assert figures["stage_ms_p50"]["head"] == pytest.approx(1.5)
    assert "accuracy_early_exit" not in figures
    json.dumps(figures)


def test_a_full_run_says_what_early_exit_would_have_given() -> None:
    done = [Classified(2, verdict([2, 2, 2, 5], certain_at=1)), Classified(7, verdict([1, 1, 1, 7]))]
    figures = summarise(done, MANIFEST, facts(full_t=True))
    assert figures["accuracy"] == 0.5
    assert figures["accuracy_early_exit"] == 1.0
    assert figures["mean_timesteps"] == 4.0
    assert figures["mean_exit_timestep"] == 2.5


def test_nothing_classified_has_figures_without_value() -> None:
    figures = summarise([], MANIFEST, facts(unreadable=1))
    assert figures["accuracy"] is figures["latency_ms_p50"] is figures["ratio_png"] is None
    assert all(isinstance(value, str) for _, value in summary_rows(figures))


def test_the_exit_is_the_first_certain_step_or_the_last() -> None:
    steps = [step(1, 0, False), step(2, 0, True), step(3, 0, True)]
    assert exit_step(steps).timestep == 2
    assert exit_step(steps[:1]).timestep == 1


def test_json_lines() -> None:
    out = io.StringIO()
    report = JsonReport(out, NAMES, lambda: 1_800_000_000.5)
    named = Sample(0, "pictures/a.png", 3, sample().pixels, taken_at=1_799_999_999.0)
    answered = replace(verdict([3, 3]), top_k=((3, 0.5), (1, 0.25)), answered_at=1_800_000_000.0)
    report.classified(named, answered)
    report.failed(named, "rejected")
    report.unreadable(Unreadable("b.png", "damaged"))
    report.summary({"samples": 1})
    first, failed, last = (json.loads(line) for line in out.getvalue().splitlines())
    assert first == {
        "schema": 1,
        "sample": "pictures/a.png",
        "time": "2027-01-15T08:00:00.000Z",
        "input_time": "2027-01-15T07:59:59.000Z",
        "label": "3",
        "prediction": "3",
        "confidence": 0.5,
        "top_k": [{"class": "3", "confidence": 0.5}, {"class": "1", "confidence": 0.25}],
        "timesteps": 2,
        "payload_bytes": 16,
        "latency_ms": 10.0,
        "answered_by": "cloud",
        "modelled_compute_j": None,
        "modelled_radio_j": None,
        "measured_j": None,
        "busy_core_s": None,
        "board_dynamic_j": None,
        "board_total_j": None,
    }
    assert failed["error"] == "rejected"
    assert failed["prediction"] is None
    assert failed["time"] == "2027-01-15T08:00:00.500Z"
    assert failed.keys() - {"error"} == first.keys()
    assert last == {"schema": 1, "summary": {"samples": 1}}


def test_lines_for_people_stop_after_the_first_few() -> None:
    out = io.StringIO()
    report = TextReport(out, NAMES, 4, show=2)
    for number in range(5):
        report.classified(sample(number), verdict([3, 3], ms=12.3))
    assert out.getvalue().splitlines() == [
        f"-      sample{number}  label ?  prediction 3  confidence  50.0%  exit t=2/4  16 bytes  12.3 ms"
        for number in (0, 1)
    ]


def test_the_table_holds_every_figure() -> None:
    out = io.StringIO()
    done = [Classified(3, verdict([3], 1), {"png": 400, "jpeg": 200, "webp": 100})]
    TextReport(out, NAMES, 4, 0).summary(summarise(done, MANIFEST, facts(simulated=True)))
    text = out.getvalue()
    for part in ("100.00%", "1 (SIMULATED events)", "8,192x", "256.0x", "50.0x (400 bytes)", "10.0 / 10.0 ms"):
        assert part in text


def test_there_is_no_progress_where_nobody_looks() -> None:
    err = io.StringIO()
    status = StatusLine(err, 100, bar_after=0)
    for _ in range(12):
        status.advance()
    status.say("skipped: [b]x[/b]")
    status.close()
    assert err.getvalue().splitlines() == ["skipped: [b]x[/b]"]
    assert status.progress() == "12 of 100"
