"""The head behind its interface: the network's own spikes, timestep for timestep, and no state between samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_client.head_runner import TorchHead, normalise
from shared.bundle import Bundle, Normalisation
from shared.network_spec import BottleneckSpec, InputKind
from tests.support.bundles import load_split, make_bundle


def pictures(bundle: Bundle, count: int) -> NDArray[np.uint8]:
    """Smooth random pictures [N, C, H, W], or event counts [N, T, C, H, W]."""
    spec = bundle.manifest.network
    leading = (count,) if spec.input_kind == "static" else (count, spec.timesteps)
    shape = (*leading, *spec.input_shape)
    coarse = np.random.default_rng(0).integers(0, 256, (*shape[:-2], shape[-2] // 4, shape[-1] // 4), np.uint8)
    return coarse.repeat(4, axis=-1).repeat(4, axis=-2)


def expected(bundle: Bundle, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The spikes of one sample over T, from the network run over all timesteps at once."""
    network = load_split(bundle)
    inputs = torch.from_numpy(normalise(frames, bundle.manifest.normalisation))
    inputs = inputs.unsqueeze(0) if inputs.dim() == 3 else inputs.unsqueeze(1)
    with torch.inference_mode():
        spikes, _ = network.edge(network.currents(inputs), network.edge.initial_state(1))
    return spikes[:, 0].numpy().astype(np.uint8)  # type: ignore[no-any-return]


@pytest.mark.parametrize("bottleneck", [None, BottleneckSpec(1, 2)])
@pytest.mark.parametrize("kind", ["static", "events"])
def test_stepping_gives_the_networks_spikes(tmp_path: Path, kind: InputKind, bottleneck: BottleneckSpec | None) -> None:
    bundle = make_bundle(tmp_path, input_shape=(2, 16, 16), input_kind=kind, bottleneck=bottleneck)
    head = TorchHead(bundle)
    head.warm_up()
    frames = pictures(bundle, 2)
    runs = [head.start(one) for one in frames]
    steps = [[run.step() for run in runs] for _ in range(bundle.manifest.network.timesteps)]
    for number, one in enumerate(frames):
        own = np.stack([step[number] for step in steps])
        assert own.dtype == np.uint8
        assert own.shape[1:] == bundle.manifest.frame_shape
        np.testing.assert_array_equal(own, expected(bundle, one))
    assert 0 < own.mean() < 1


def test_a_static_picture_is_embedded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = TorchHead(make_bundle(tmp_path))
    calls = []
    embed = head.network.embed
    monkeypatch.setattr(head.network, "embed", lambda frames: (calls.append(1), embed(frames))[1])
    run = head.start(np.zeros((1, 16, 16), np.uint8))
    for _ in range(4):
        run.step()
    assert len(calls) == 1


def test_normalisation_is_per_channel() -> None:
    frames = np.array([[[0, 255]], [[51, 102]]], np.uint8)
    values = normalise(frames, Normalisation(1 / 255, (0.5, 0.2), (0.25, 0.5)))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, [[[-2.0, 2.0]], [[0.0, 0.4]]], atol=1e-6)
    clip = np.stack([frames, frames])
    np.testing.assert_array_equal(normalise(clip, Normalisation(1 / 255, (0.5, 0.2), (0.25, 0.5)))[1], values)
