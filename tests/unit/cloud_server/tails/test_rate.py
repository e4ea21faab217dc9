"""The tail of the rate execution: softmax of the mean frame's logits, whoever shares the batch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloud_server.config import CloudConfig
from cloud_server.tails.factory import make_tail
from cloud_server.tails.rate import RateNetwork, RateTail, softmax
from cloud_server.tails.rate_onnx import OnnxRateNetwork
from cloud_server.tails.rate_torch import TorchRateNetwork
from shared.bundle import Bundle
from shared.bundle_writer import write_parts
from shared.errors import BundleError, ConfigError
from shared.manifest import EXTRAS, Extra
from shared.models.load import load_cloud
from shared.models.rate import RateCloud
from tests.support.bundles import make_bundle, retuned
from tests.support.graphs import with_rate_graphs

CPU = torch.device("cpu")
DIGITS = Path(__file__).parents[4] / "models" / "resnet18-digits"
TIMESTEPS = [1, 4, 2, 3, 4, 1]
TOLERANCE = 1e-5
RUNTIMES = ["torch", "onnx", "onnx-int8"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = make_bundle(tmp_path_factory.mktemp("bundle"), split="layer2").run_as("rate")
    tuned = retuned(made, temperature=1.7, tail_levels=5)
    return with_rate_graphs(tuned, "tail-rate", "tail-rate-int8")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """How rows are shared out to threads changes what they add first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network_of(bundle: Bundle, runtime: str) -> RateNetwork:
    if runtime == "torch":
        return TorchRateNetwork(bundle, CPU)
    return OnnxRateNetwork(bundle, "tail-rate-int8" if runtime == "onnx-int8" else "tail-rate")


@pytest.fixture(params=RUNTIMES)
def tail(bundle: Bundle, request: pytest.FixtureRequest) -> RateTail:
    return RateTail(bundle, network_of(bundle, request.param))


@pytest.fixture(scope="module")
def frames(bundle: Bundle) -> NDArray[np.uint8]:
    """Spikes [T, samples, C, H, W], four of ten set."""
    shape = (bundle.manifest.network.timesteps, len(TIMESTEPS), *bundle.manifest.frame_shape)
    return (np.random.default_rng(3).random(shape) < 0.4).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(bundle: Bundle, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """softmax(RateCloud's logits / temperature) of each sample at its timestep: [samples, classes]."""
    sums = np.stack([frames[:timestep, sample].sum(0, dtype=np.uint8) for sample, timestep in enumerate(TIMESTEPS)])
    cloud = RateCloud(load_cloud(bundle), bundle.settings.tail_levels)
    with torch.inference_mode():
        logits = cloud(torch.from_numpy(sums), torch.tensor(TIMESTEPS))
        confidences: NDArray[np.float32] = torch.softmax(logits / bundle.settings.temperature, dim=1).numpy()
    assert len({*confidences.argmax(1).tolist()}) > 1, "inputs that all get the same answer show nothing"
    return confidences


def step_to(tail: RateTail, frames: NDArray[np.uint8], samples: list[int]) -> NDArray[np.float32]:
    """These samples' answers at their timesteps, from one batch of samples that are at different ones."""
    slots = tail.slots(len(TIMESTEPS))
    slots.reset(samples)
    for sample in samples:  # each by itself until the timestep before
        for timestep in range(1, TIMESTEPS[sample]):
            stepped = tail.step([frames[timestep - 1, sample]], [timestep], slots.gather([sample]))
            slots.scatter([sample], stepped.state)
    timesteps = [TIMESTEPS[sample] for sample in samples]
    due = [frames[timestep - 1, sample] for timestep, sample in zip(timesteps, samples, strict=True)]
    stepped = tail.step(due, timesteps, slots.gather(samples))
    slots.scatter(samples, stepped.state)
    return stepped.confidences


def test_samples_at_different_timesteps_share_a_batch(
    bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    answers = step_to(RateTail(bundle, TorchRateNetwork(bundle, CPU)), frames, [*range(len(TIMESTEPS))])
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, expected, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(answers.sum(1), 1.0, atol=1e-6)


def test_onnxruntime_answers_as_torch_does(
    bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    """Nearly: where a current lies within a rounding error of two levels' border, a count may differ."""
    answers = step_to(RateTail(bundle, OnnxRateNetwork(bundle, "tail-rate")), frames, [*range(len(TIMESTEPS))])
    assert np.isclose(answers, expected, atol=1e-4).all(axis=1).mean() > 0.8


def test_an_answer_does_not_hang_on_who_shares_the_batch(tail: RateTail, frames: NDArray[np.uint8]) -> None:
    together = step_to(tail, frames, [*range(len(TIMESTEPS))])
    alone = np.concatenate([step_to(tail, frames, [sample]) for sample in range(len(TIMESTEPS))])
    others = step_to(tail, frames, [4, 0, 2])
    np.testing.assert_allclose(alone, together, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(others, together[[4, 0, 2]], atol=TOLERANCE, rtol=0)


def test_integers_answer_the_same_bits_in_any_company_and_on_any_number_of_threads(
    bundle: Bundle, frames: NDArray[np.uint8]
) -> None:
    tail = RateTail(bundle, OnnxRateNetwork(bundle, "tail-rate-int8"))
    together = step_to(tail, frames, [*range(len(TIMESTEPS))])
    for threads in (1, 2):
        tail.use_threads(threads)
        alone = np.concatenate([step_to(tail, frames, [sample]) for sample in range(len(TIMESTEPS))])
        np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("part", [None, "tail-rate"])
def test_on_one_thread_floats_do_so_too_where_that_is_asked_for(tmp_path: Path, part: Extra | None) -> None:
    """With --batch-invariant; held against weights of full size, whose sums are long enough to differ."""
    shutil.copytree(DIGITS, tmp_path, dirs_exist_ok=True)
    spiking = Bundle.open(tmp_path, "spiking")
    settings = replace(spiking.settings, local_exit=None)
    described = replace(spiking.manifest, executions={"spiking": settings, "rate": settings})
    bundle = write_parts(spiking, described, dict.fromkeys(EXTRAS)).run_as("rate")
    config = CloudConfig((tmp_path,), batch_invariant=True)
    tail = make_tail(with_rate_graphs(bundle, part) if part else bundle, config)
    frames = (np.random.default_rng(3).random((12, *bundle.manifest.frame_shape)) < 0.3).astype(np.uint8)

    def answers(some: NDArray[np.uint8]) -> NDArray[np.float32]:
        return tail.step([*some], [1] * len(some), tail.slots(1).fresh(len(some))).confidences

    together = answers(frames)
    for size in (1, 5, 8):
        parts = [answers(frames[first : first + size]) for first in range(0, len(frames), size)]
        np.testing.assert_array_equal(np.concatenate(parts), together)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_number_of_threads_changes_no_answer(bundle: Bundle, frames: NDArray[np.uint8], runtime: str) -> None:
    tail = RateTail(bundle, network_of(bundle, runtime))
    samples = [*range(len(TIMESTEPS))]
    one = step_to(tail, frames, samples)
    tail.use_threads(2)
    np.testing.assert_allclose(step_to(tail, frames, samples), one, atol=TOLERANCE, rtol=0)


def test_torch_gets_its_threads(bundle: Bundle) -> None:
    RateTail(bundle, TorchRateNetwork(bundle, CPU)).use_threads(2)
    assert torch.get_num_threads() == 2


def test_a_step_that_is_not_committed_leaves_no_trace(tail: RateTail, frames: NDArray[np.uint8]) -> None:
    slots = tail.slots(2)
    slots.reset([0, 1])
    slots.scatter([0], tail.step([frames[0, 0]], [1], slots.gather([0])).state)
    before = slots.gather([0, 1])
    tail.step([frames[1, 0], frames[0, 1]], [2, 1], slots.gather([0, 1]))
    np.testing.assert_array_equal(slots.gather([0, 1]), before)
    np.testing.assert_array_equal(before, np.stack([frames[0, 0], np.zeros_like(frames[0, 0])]))


def test_float32_is_not_tf32(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    TorchRateNetwork(bundle, CPU)
    assert not torch.backends.cudnn.allow_tf32


def test_softmax_of_large_logits_is_finite() -> None:
    shares = softmax(np.array([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]], np.float32))
    np.testing.assert_allclose(shares, [[1.0, 0.0, 0.0], [1 / 3] * 3], atol=1e-7)
    assert shares.dtype == np.float32


def test_a_graph_that_is_missing_or_damaged_is_said(tmp_path: Path) -> None:
    bare = make_bundle(tmp_path).run_as("rate")
    with pytest.raises(ConfigError, match=r"no tail-rate\.onnx for --runtime onnx"):
        OnnxRateNetwork(bare, "tail-rate")
    damaged = with_rate_graphs(bare, "tail-rate-int8")
    file = tmp_path / "tail-rate-int8.onnx"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(BundleError, match=r"tail-rate-int8\.onnx is not the file"):
        OnnxRateNetwork(damaged, "tail-rate-int8")
