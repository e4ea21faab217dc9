"""The head behind its interface: the network's own spikes, timestep for timestep, and no state between samples."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_client.heads.embedding import normalise
from edge_client.heads.factory import open_head
from edge_client.heads.onnx_head import OnnxHead
from edge_client.heads.runtime import Runtime
from edge_client.heads.torch_head import TorchHead
from shared.bundle import Bundle
from shared.bundle_writer import write_graphs
from shared.errors import BundleError, ConfigError
from shared.manifest import Normalisation
from shared.network_spec import BottleneckSpec, InputKind
from tests.support.bundles import load_split, make_bundle, random_samples
from training.commands.graphs import add_graphs


def pictures(bundle: Bundle, count: int) -> NDArray[np.uint8]:
    return random_samples(bundle.manifest.network, count)


def expected(bundle: Bundle, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The spikes of one sample over T, from the network run over all timesteps at once."""
    network = load_split(bundle)
    inputs = torch.from_numpy(normalise(frames, bundle.manifest.normalisation))
    inputs = inputs.unsqueeze(0) if inputs.dim() == 3 else inputs.unsqueeze(1)
    with torch.inference_mode():
        spikes, _ = network.edge(network.currents(inputs), network.edge.initial_state(1))
    return spikes[:, 0].numpy().astype(np.uint8)  # type: ignore[no-any-return]


def with_graphs(bundle: Bundle) -> Bundle:
    """The bundle with its head for onnxruntime, too, quantised on its own pictures."""
    return add_graphs(bundle, ("onnx", "onnx-int8"), lambda: pictures(bundle, 8))


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
@pytest.mark.parametrize("bottleneck", [None, BottleneckSpec(1, 2)])
@pytest.mark.parametrize("kind", ["static", "events"])
def test_stepping_gives_the_networks_spikes(
    tmp_path: Path, kind: InputKind, bottleneck: BottleneckSpec | None, runtime: Runtime
) -> None:
    bundle = make_bundle(tmp_path, input_shape=(2, 16, 16), input_kind=kind, bottleneck=bottleneck)
    if runtime == "onnx":
        bundle = with_graphs(bundle)
    head = open_head(bundle, runtime)
    frames = pictures(bundle, 2)
    runs = [head.start(one) for one in frames]
    steps = [[run.step() for run in runs] for _ in range(bundle.manifest.network.timesteps)]
    for number, one in enumerate(frames):
        own = np.stack([step[number] for step in steps])
        assert own.dtype == np.uint8
        assert own.shape[1:] == bundle.manifest.frame_shape
        np.testing.assert_array_equal(own, expected(bundle, one))
    assert 0 < own.mean() < 1


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_empty_event_frames_are_not_embedded_and_change_nothing(tmp_path: Path, runtime: Runtime) -> None:
    bundle = with_graphs(make_bundle(tmp_path, input_shape=(2, 16, 16), input_kind="events"))
    head = open_head(bundle, runtime)
    assert isinstance(head, TorchHead | OnnxHead)
    frames = pictures(bundle, 1)[0]
    frames[[0, 2]] = 0
    embedded = []
    embed = head._embedding._embed
    head._embedding._embed = lambda frame: (embedded.append(frame), embed(frame))[1]
    run = head.start(frames)
    own = np.stack([run.step() for _ in frames])
    assert len(embedded) == 2
    np.testing.assert_array_equal(own, expected(bundle, frames))


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_a_static_picture_is_embedded_once(tmp_path: Path, runtime: Runtime) -> None:
    head = open_head(with_graphs(make_bundle(tmp_path)), runtime)
    assert isinstance(head, TorchHead | OnnxHead)
    calls = []
    embed = head._embedding._embed
    head._embedding._embed = lambda frame: (calls.append(1), embed(frame))[1]
    run = head.start(np.zeros((1, 16, 16), np.uint8))
    for _ in range(4):
        run.step()
    assert len(calls) == 1


def test_the_quantised_head_has_its_own_spikes(tmp_path: Path) -> None:
    """On an untrained network they differ a lot; how much on trained ones is tested with the shipped bundles."""
    bundle = with_graphs(make_bundle(tmp_path, input_shape=(3, 16, 16)))
    frames = pictures(bundle, 1)[0]
    plain, quantised = (open_head(bundle, runtime).start(frames) for runtime in ("onnx", "onnx-int8"))
    differ = np.mean([plain.step() != quantised.step() for _ in range(4)])
    assert 0 < differ < 0.4


def test_auto_takes_onnxruntime_where_the_bundle_has_graphs(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    assert isinstance(open_head(bundle), TorchHead)
    assert isinstance(open_head(with_graphs(bundle)), OnnxHead)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "without")
    with pytest.raises(ConfigError, match=r"neucodex-train export --bundle .* --runtime onnx`"):
        open_head(bundle, "onnx")
    complete = with_graphs(make_bundle(tmp_path / "with"))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"no graphs .*neucodex-train export .*edge-torch"):
        open_head(bundle)
    with pytest.raises(ConfigError, match=r"--runtime torch .*edge-torch"):
        open_head(complete, "torch")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"needs onnxruntime or torch"):
        open_head(complete)
    with pytest.raises(ConfigError, match=r"--runtime onnx needs onnxruntime"):
        open_head(complete, "onnx")


def test_a_damaged_graph_is_refused(tmp_path: Path) -> None:
    bundle = with_graphs(make_bundle(tmp_path))
    file = bundle.path / "head-step.onnx"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(BundleError, match=r"head-step\.onnx is not the file"):
        open_head(bundle)
    nonsense = write_graphs(bundle, {"head-step": b"no graph"})
    with pytest.raises(BundleError, match=r"head-step\.onnx: it is no ONNX graph"):
        open_head(nonsense)


def test_normalisation_is_per_channel() -> None:
    frames = np.array([[[0, 255]], [[51, 102]]], np.uint8)
    values = normalise(frames, Normalisation(1 / 255, (0.5, 0.2), (0.25, 0.5)))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, [[[-2.0, 2.0]], [[0.0, 0.4]]], atol=1e-6)
    clip = np.stack([frames, frames])
    np.testing.assert_array_equal(normalise(clip, Normalisation(1 / 255, (0.5, 0.2), (0.25, 0.5)))[1], values)
