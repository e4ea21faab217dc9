"""A bundle's graphs as they are added: a quantised head is measured, and one that costs too much is not there."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from shared.bundle import Bundle
from tests.support.bundles import make_bundle
from training.collect_spikes import bundle_spikes, cloud_answers
from training.commands import graphs
from training.commands.graphs import RUNTIMES, add_graphs
from training.data import Samples
from training.onnx_int8 import graph_spikes


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path, input_shape=(2, 16, 16))


@pytest.fixture
def samples(bundle: Bundle) -> Samples:
    """Labelled with what the cloud answers to the head's own spikes."""
    random = torch.Generator().manual_seed(3)
    frames = torch.randint(0, 256, (12, 2, 4, 4), generator=random, dtype=torch.uint8)
    frames = frames.repeat_interleave(4, -1).repeat_interleave(4, -2)
    return Samples(frames, torch.from_numpy(cloud_answers(bundle, bundle_spikes(bundle, frames.numpy()))))


def add(bundle: Bundle, samples: Samples) -> Bundle:
    return add_graphs(bundle, RUNTIMES, samples.frames.numpy, lambda: samples)


def test_what_was_measured_is_in_the_manifest(
    bundle: Bundle, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MOST_LOST", 1.0)
    written = add(bundle, samples)
    graph = written.graph("head-step-int8")
    assert graph is not None
    spikes = graph_spikes(written, onnx.load_from_string(graph), samples.frames.numpy())
    plain = bundle_spikes(written, samples.frames.numpy())
    right = (cloud_answers(written, spikes) == samples.labels.numpy()).mean()
    assert written.settings.measured["int8"] == {
        "samples": 12,
        "spikes_that_differ": round(float((spikes != plain).mean()), 5),
        "accuracy_full_t": round(float(right), 5),
        "float32_accuracy_full_t": 1.0,
        "most_lost": graphs.MOST_LOST,
        "written": True,
    }
    assert plain.any(), "a silent head shows nothing"


def test_one_that_costs_too_much_is_not_written_and_an_older_one_goes(
    bundle: Bundle, samples: Samples, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(graphs, "MOST_LOST", 1.0)
    before = add(bundle, samples)
    assert before.has("head-step-int8")
    monkeypatch.setattr(graphs, "MOST_LOST", -1.0)
    after = add(before, samples)
    assert not after.has("head-step-int8")
    assert not (after.path / "head-step-int8.onnx").exists()
    assert after.has("head-step")
    assert after.settings.measured["int8"]["written"] is False
    assert "not written" in caplog.text


def test_without_samples_it_is_written_as_it_is(bundle: Bundle, samples: Samples) -> None:
    written = add_graphs(bundle, RUNTIMES, samples.frames.numpy)
    assert written.has("head-step-int8")
    assert "int8" not in written.settings.measured
