"""The head of the rate execution: its layers run once for a picture, and its neurons are the network's own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_client.heads.embedding import normalise
from edge_client.heads.factory import open_head
from edge_client.heads.rate_head import RateHead
from edge_client.heads.runtime import Runtime
from shared.bundle import Bundle
from shared.errors import BundleError, ConfigError
from shared.manifest import Extra
from shared.models.load import load_edge
from shared.models.rate import EncoderNeurons, RateEdge
from shared.models.split import EdgeNetwork
from shared.network_spec import BottleneckSpec, InputKind, NetworkSpec, NeuronSpec
from tests.support.bundles import make_bundle, random_samples
from tests.support.graphs import with_rate_graphs
from tests.unit.edge_client.manifests import manifest

Floats = NDArray[np.float32]

KINDS: tuple[InputKind, ...] = ("static", "events")


def rate_bundle(path: Path, kind: InputKind = "static") -> Bundle:
    return make_bundle(path, input_shape=(2, 16, 16), input_kind=kind, bottleneck=BottleneckSpec(2, 2)).run_as("rate")


@st.composite
def made_up_currents(draw: st.DrawFn) -> tuple[NeuronSpec, InputKind, Floats]:
    """Currents [T or 1, C, H, W]; some that put the membrane on the threshold exactly."""
    threshold = draw(st.sampled_from([1.0, 0.7, 2.0]))
    kind = draw(st.sampled_from(KINDS))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    shape = (4 if kind == "events" else 1, 1, 8, 8)
    coarse = random.integers(-8, 24, shape) / 8
    currents = np.where(random.random(shape) < 0.5, coarse, random.normal(0.4, 0.8, shape)) * threshold
    return NeuronSpec(threshold=threshold, initial_membrane=threshold / 2), kind, currents.astype(np.float32)


@given(made_up_currents())
def test_the_neurons_are_torchs_bit_for_bit(made_up: tuple[NeuronSpec, InputKind, Floats]) -> None:
    neuron, kind, currents = made_up
    spec = NetworkSpec(
        "resnet18", (1, 16, 16), 10, "layer1", 4, input_kind=kind, bottleneck=BottleneckSpec(1, 2), neuron=neuron
    )
    due = iter([currents[0], *currents])  # the first is that of an empty frame
    head = RateHead(replace(manifest(), network=spec), lambda _: next(due))
    run = head.start(np.ones((1, 16, 16) if kind == "static" else (4, 1, 16, 16), np.uint8))
    frames = np.stack([run.step() for _ in range(4)])
    given_currents = torch.from_numpy(currents if kind == "static" else currents[:, np.newaxis])
    expected = EncoderNeurons(EdgeNetwork(spec)).frames(given_currents)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, expected[:, 0].numpy())


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_torchs_head_sends_the_networks_frames(tmp_path: Path, kind: InputKind) -> None:
    bundle = rate_bundle(tmp_path, kind)
    edge = load_edge(bundle)
    layers, neurons = RateEdge(edge, bundle.settings.head_levels), EncoderNeurons(edge)
    head = open_head(bundle, "torch")
    samples = random_samples(bundle.manifest.network, 3)
    runs = [head.start(sample) for sample in samples]
    steps = np.stack([[run.step() for run in runs] for _ in range(4)])  # side by side: no state is shared
    for number, sample in enumerate(samples):
        inputs = torch.from_numpy(normalise(sample, bundle.manifest.normalisation))
        currents = layers(inputs) if kind == "events" else layers(inputs.unsqueeze(0))
        frames = neurons.frames(currents.unsqueeze(1) if kind == "events" else currents)
        np.testing.assert_array_equal(steps[:, number], frames[:, 0].numpy())
    assert 0 < steps.mean() < 1


def counting(head: RateHead) -> list[Floats]:
    """Everything that the head's layers are run for from now on."""
    seen: list[Floats] = []
    run: Callable[[Floats], Floats] = head._embedding._embed
    head._embedding._embed = lambda frame: (seen.append(frame), run(frame))[1]
    return seen


def test_the_layers_run_once_for_a_picture(tmp_path: Path) -> None:
    head = open_head(rate_bundle(tmp_path), "torch")
    assert isinstance(head, RateHead)
    seen = counting(head)
    run = head.start(np.full((2, 16, 16), 200, np.uint8))
    frames = [run.step() for _ in range(4)]
    assert len(seen) == 1
    assert any(not np.array_equal(frames[0], frame) for frame in frames), "the neurons step all the same"


def test_the_layers_run_for_each_frame_of_events_but_not_for_empty_ones(tmp_path: Path) -> None:
    bundle = rate_bundle(tmp_path, "events")
    head = open_head(bundle, "torch")
    assert isinstance(head, RateHead)
    sample = random_samples(bundle.manifest.network, 1)[0]
    sample[2] = 0
    seen = counting(head)
    run = head.start(sample)
    for due in (1, 2, 2, 3):
        run.step()
        assert len(seen) == due


PARTS: tuple[Extra, ...] = ("head-rate", "head-rate-int8")


@pytest.mark.parametrize(
    ("parts", "chosen"), [((), "torch"), (PARTS[:1], "onnx"), (PARTS, "onnx-int8"), (PARTS[1:], "onnx-int8")]
)
def test_auto_takes_integers_first_then_onnxruntime_then_torch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, parts: tuple[Extra, ...], chosen: Runtime
) -> None:
    bundle = with_rate_graphs(rate_bundle(tmp_path), *parts)
    caplog.set_level(logging.INFO)
    assert isinstance(open_head(bundle), RateHead)
    assert caplog.messages[-1] == f"the rate head runs on {chosen}, 1 thread"


def test_without_onnxruntime_auto_takes_torch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = with_rate_graphs(rate_bundle(tmp_path), *PARTS)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    caplog.set_level(logging.INFO)
    open_head(bundle)
    assert caplog.messages[-1] == "the rate head runs on torch, 1 thread"


@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntimes_head_sends_torchs_frames(tmp_path: Path, kind: InputKind) -> None:
    bundle = with_rate_graphs(rate_bundle(tmp_path, kind), "head-rate")
    samples = random_samples(bundle.manifest.network, 8)
    sent = []
    for runtime in ("torch", "onnx"):
        runs = [open_head(bundle, runtime).start(sample) for sample in samples]  # type: ignore[arg-type]
        sent.append(np.stack([[run.step() for run in runs] for _ in range(4)]))
    assert (sent[0] != sent[1]).mean() < 0.01, "a count may be rounded otherwise, now and then"


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = rate_bundle(tmp_path / "without")
    for runtime, part in (("onnx", "head-rate"), ("onnx-int8", "head-rate-int8")):
        with pytest.raises(ConfigError, match=rf"no {part}\.onnx for --runtime {runtime}: .*--runtime {runtime}`"):
            open_head(bundle, runtime)  # type: ignore[arg-type]
    complete = with_rate_graphs(rate_bundle(tmp_path / "with"), *PARTS)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"no graphs .*neucodex-train export .*edge-torch"):
        open_head(bundle)
    with pytest.raises(ConfigError, match=r"--runtime torch .*edge-torch"):
        open_head(complete, "torch")
    open_head(complete)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="needs onnxruntime or torch"):
        open_head(complete)


def test_a_damaged_graph_is_refused(tmp_path: Path) -> None:
    bundle = with_rate_graphs(rate_bundle(tmp_path), "head-rate")
    file = bundle.path / "head-rate.onnx"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(BundleError, match=r"head-rate\.onnx is not the file"):
        open_head(bundle)
