"""The local exit: the same in torch and in numpy, calibrated against the cloud's answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_client.heads.local_exit import NumpyLocalExit, open_local_exit
from shared.bundle import MANIFEST, Bundle
from shared.bundle_writer import write_local_exit
from shared.errors import BundleError, ConfigError
from shared.exit_policy import NEVER, ExitPolicy
from shared.manifest import LocalExitSpec
from shared.network_spec import BottleneckSpec, Shape
from tests.support.bundles import make_bundle
from training.data import bundle_data
from training.local_exit import LocalExitNetwork, calibrate, fit, logits_by_timestep, means_so_far

POLICY = ExitPolicy("max_probability", 0.8)
CLASSES = 5
SHAPES: list[Shape] = [(4, 8, 8), (16, 8, 8), (1, 16, 16), (2, 9, 7), (3, 17, 17), (64, 32, 32), (512, 1, 1)]


def network(shape: Shape) -> LocalExitNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return LocalExitNetwork(shape, CLASSES).eval().requires_grad_(False)


def spikes(shape: Shape, count: int, timesteps: int = 4) -> NDArray[np.uint8]:
    return (np.random.default_rng(0).random((count, timesteps, *shape)) < 0.3).astype(np.uint8)


def patterns(count: int, noise: float, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Each class has its own spikes, some of which are flipped at random."""
    random = np.random.default_rng(seed)
    clean = np.random.default_rng(7).random((CLASSES, 1, 2, 6, 6)) < 0.3
    labels = random.integers(0, CLASSES, count)
    flips = random.random((count, 3, 2, 6, 6)) < noise
    return (clean[labels] ^ flips).astype(np.uint8), labels


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numpy_computes_what_torch_does(shape: Shape) -> None:
    torch_exit = network(shape)
    numpy_exit = NumpyLocalExit(LocalExitSpec(torch_exit.pools, 0.7, POLICY), torch_exit.weights(), shape, CLASSES)
    means = means_so_far(spikes(shape, 3))
    with torch.inference_mode():
        expected = torch.softmax(torch_exit(means[:, 2]) / 0.7, dim=-1).numpy()
    for mean, confidences in zip(means[:, 2].numpy(), expected, strict=True):
        given = numpy_exit.confidences(mean)
        assert sum(given) == pytest.approx(1.0)
        np.testing.assert_allclose(given, confidences, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_stays_small(shape: Shape) -> None:
    assert network(shape).operations < 1_500_000
    if shape[0] <= 16:
        assert network(shape).operations < 500_000


def test_it_learns_and_twice_the_same() -> None:
    frames, labels = patterns(125, noise=0.15)
    trained, again = (fit(frames, labels, CLASSES, seed=3) for _ in range(2))
    for name, value in trained.weights().items():
        assert np.array_equal(value, again.weights()[name]), name
        assert np.array_equal(value, value.astype(np.float16)), "rounded as the bundle will hold it"
    unseen, truth = patterns(200, noise=0.15, seed=1)
    logits = logits_by_timestep(trained, unseen)
    assert logits.shape == (3, 200, CLASSES)
    accuracies = (logits.argmax(-1) == truth).mean(1)
    assert accuracies[-1] > 0.95
    assert accuracies[0] <= accuracies[-1]


WRONG = np.arange(1000).reshape(-1, 10).T.ravel()
"""Every tenth sample, then those beside them."""


def made_up(count: int, wrong_and_sure: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits [2, N, 3] that are right and sure, but for some that are spread evenly, wrong and just as sure."""
    labels = np.arange(count) % 3
    logits = np.zeros((2, count, 3))
    said = labels.copy()
    said[WRONG[:wrong_and_sure]] += 1
    logits[:, np.arange(count), said % 3] = np.random.default_rng(0).uniform(2, 6, count)
    return logits, labels


def test_it_may_be_sure_where_it_is_never_wrong() -> None:
    logits, labels = made_up(1000, wrong_and_sure=0)
    found = calibrate(logits, np.ones(1000, bool), labels, "max_probability", 0.01, 0.1)
    assert found.answered > 0.99
    assert found.promise is not None
    assert "1.00%" in found.promise


def test_what_the_cloud_gets_wrong_too_costs_nothing() -> None:
    logits, labels = made_up(1000, wrong_and_sure=100)
    cloud_right = np.ones(1000, bool)
    careful = calibrate(logits, cloud_right, labels, "max_probability", 0.01, 0.1)
    cloud_right[WRONG[:100]] = False
    bold = calibrate(logits, cloud_right, labels, "max_probability", 0.01, 0.1)
    assert bold.answered > careful.answered
    certain = np.exp(logits[0, 200:] / careful.temperature)
    sure = (certain.max(-1) / certain.sum(-1)) >= careful.policy.threshold
    assert (sure & (logits[0, 200:].argmax(-1) != labels[200:])).mean() <= 0.01


def test_too_few_samples_give_no_promise() -> None:
    logits, labels = made_up(100, wrong_and_sure=0)
    found = calibrate(logits, np.ones(100, bool), labels, "max_probability", 0.001, 0.1)
    assert found.promise is None
    assert found.policy.threshold == NEVER
    assert found.answered == 0.0


def with_exit(path: Path) -> Bundle:
    bundle = make_bundle(path, classes=CLASSES, bottleneck=BottleneckSpec(2, 2))
    exit_network = network(bundle.manifest.frame_shape)
    spec = LocalExitSpec(exit_network.pools, 0.7, POLICY)
    return write_local_exit(bundle, spec, exit_network.weights(), {"test": {"samples": 3}})


def test_a_bundle_holds_it_under_its_fingerprint(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain", classes=CLASSES, bottleneck=BottleneckSpec(2, 2))
    assert open_local_exit(plain) is None
    bundle = with_exit(tmp_path / "bundle")
    assert bundle.fingerprint != plain.fingerprint
    assert bundle.settings.measured["local_exit"] == {"test": {"samples": 3}}
    found = open_local_exit(Bundle.open(bundle.path))
    assert found is not None
    assert found.policy == POLICY
    mean = np.random.default_rng(0).random(bundle.manifest.frame_shape, np.float32)
    weights = {name: value.astype(np.float16) for name, value in network(bundle.manifest.frame_shape).weights().items()}
    rounded = NumpyLocalExit(bundle.settings.local_exit, weights, bundle.manifest.frame_shape, CLASSES)  # type: ignore[arg-type]
    assert found.confidences(mean) == rounded.confidences(mean)
    assert found.policy.should_stop(found.confidences(mean)) == (max(found.confidences(mean)) >= 0.8)


def test_a_damaged_one_is_refused(tmp_path: Path) -> None:
    bundle = with_exit(tmp_path)
    file = tmp_path / "exit-spiking.safetensors"
    raw = file.read_bytes()
    file.write_bytes(raw[:-1])
    with pytest.raises(BundleError, match=r"exit-spiking\.safetensors is not the file"):
        open_local_exit(bundle)
    spec = bundle.settings.local_exit
    assert spec is not None
    weights = network(bundle.manifest.frame_shape).weights()
    missing = {name: value for name, value in weights.items() if name != "hidden.bias"}
    with pytest.raises(BundleError, match=r"hidden\.bias.*copy the bundle again"):
        open_local_exit(write_local_exit(bundle, spec, missing, {}))
    foreign = LocalExitNetwork(bundle.manifest.frame_shape, CLASSES + 1).weights()
    with pytest.raises(BundleError, match=r"6 classes, the manifest 5"):
        open_local_exit(write_local_exit(bundle, spec, foreign, {}))
    other = LocalExitNetwork((7, 4, 4), CLASSES).weights()
    with pytest.raises(BundleError, match="does not fit"):
        open_local_exit(write_local_exit(bundle, spec, other, {}))


@pytest.mark.parametrize("change", [{"temperature": 0.0}, {"pools": [0, 1]}, None])
def test_a_wrong_description_is_refused(tmp_path: Path, change: dict[str, object] | None) -> None:
    with_exit(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    execution = manifest["executions"]["spiking"]
    if change is None:
        del execution["local_exit"]
    else:
        execution["local_exit"] |= change
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="local_exit"):
        Bundle.open(tmp_path)


def test_what_was_held_out_is_held_out_again() -> None:
    root = Path(__file__).parents[3]
    data = bundle_data(Bundle.open(root / "models/resnet18-digits"), None)
    assert (len(data.train), len(data.held_out), len(data.test)) == (1037, 400, 360)
    with pytest.raises(ConfigError, match="was trained on digits, --dataset is cifar10"):
        bundle_data(Bundle.open(root / "models/resnet18-digits"), None, "cifar10")


def test_a_bundle_that_does_not_say_what_was_held_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not say which samples were held out.*export --recipe"):
        bundle_data(make_bundle(tmp_path), None)
