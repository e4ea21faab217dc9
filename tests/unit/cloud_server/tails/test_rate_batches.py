"""The tail of the rate execution: its slots sum frames, and by integers a sample has the same answer in every batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_server.config import CloudConfig
from cloud_server.tails.factory import choose_runtime
from cloud_server.tails.frame_sums import FrameSumSlots
from cloud_server.tails.rate import RateTail
from cloud_server.tails.rate_onnx import OnnxRateNetwork
from shared.bundle import Bundle
from shared.bundle_writer import write_graphs
from shared.models.load import load_cloud
from tests.support.bundles import make_bundle
from training.onnx_rate import rate_tail_graph
from training.onnx_rate_int8 import rate_tail_int8

SAMPLES = 32


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny bundle in rate, with both graphs of its tail."""
    made = make_bundle(tmp_path_factory.mktemp("bundle"), width=8, classes=19).run_as("rate")
    network, levels = load_cloud(made), made.settings.tail_levels
    graphs = {
        "tail-rate": rate_tail_graph(network, levels).SerializeToString(),
        "tail-rate-int8": rate_tail_int8(network, levels).SerializeToString(),
    }
    return write_graphs(made, graphs)


@pytest.fixture(scope="module")
def frames(bundle: Bundle) -> NDArray[np.uint8]:
    """Spikes [T, SAMPLES, C, H, W]; each sample has a rate of its own."""
    shape = (bundle.manifest.network.timesteps, SAMPLES, *bundle.manifest.frame_shape)
    rates = np.linspace(0.1, 0.9, SAMPLES).reshape(-1, 1, 1, 1)
    return (np.random.default_rng(5).random(shape) < rates).astype(np.uint8)


def answers(bundle: Bundle, frames: NDArray[np.uint8], size: int, threads: int) -> NDArray[np.float32]:
    """Confidences [T, SAMPLES, classes] of the integer tail, in batches of up to `size` samples at any timesteps."""
    tail = RateTail(bundle, OnnxRateNetwork(bundle, "tail-rate-int8"))
    tail.use_threads(threads)
    slots = tail.slots(SAMPLES)
    slots.reset(range(SAMPLES))
    out = np.zeros((len(frames), SAMPLES, bundle.manifest.network.classes), np.float32)
    random = np.random.default_rng(size)
    steps = [0] * SAMPLES
    while unfinished := [sample for sample, done in enumerate(steps) if done < len(frames)]:
        rows = random.permutation(unfinished)[:size].tolist()
        done = [steps[row] for row in rows]
        batch = [frames[timestep, row] for timestep, row in zip(done, rows, strict=True)]
        output = tail.step(batch, [timestep + 1 for timestep in done], slots.gather(rows))
        slots.scatter(rows, output.state)
        out[done, rows] = output.confidences
        for row in rows:
            steps[row] += 1
    return out


def test_integers_answer_the_same_bits_in_batches_of_any_size_and_on_any_number_of_threads(
    bundle: Bundle, frames: NDArray[np.uint8]
) -> None:
    alone = answers(bundle, frames, 1, 1)
    assert len({tuple(sample) for sample in alone[-1].round(3).tolist()}) > SAMPLES // 2, "all answers are alike"
    assert np.allclose(alone.sum(-1), 1.0, atol=1e-5)
    for size in (1, 7, 32):
        for threads in (1, 2):
            assert np.array_equal(answers(bundle, frames, size, threads), alone), (size, threads)


def test_a_slot_sums_its_sample_and_shows_nothing_of_the_one_before() -> None:
    slots = FrameSumSlots((1, 2, 2), 3)
    slots.reset([0, 2])
    slots.scatter([2, 0], np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2))
    assert slots.gather([0, 2]).ravel().tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    with pytest.raises(ValueError, match="do not fit 2 rows"):
        slots.scatter([0, 2], np.zeros((1, 1, 2, 2), np.uint8))
    slots.reset([0])
    assert not slots.gather([0]).any()
    assert not slots.fresh(1).any()
    assert slots.bytes_per_row == 4


def test_the_runtime_is_the_fastest_that_the_bundle_has_a_graph_for(bundle: Bundle) -> None:
    config = CloudConfig((bundle.path,))
    float_only = replace(bundle, files={part: file for part, file in bundle.files.items() if part != "tail-rate-int8"})
    no_graph = replace(bundle, files={part: file for part, file in bundle.files.items() if "rate" not in part})
    assert [choose_runtime(each, config) for each in (bundle, float_only, no_graph)] == ["onnx-int8", "onnx", "torch"]
    assert choose_runtime(bundle, replace(config, runtime="onnx")) == "onnx"
    assert choose_runtime(bundle, replace(config, device="cuda")) == "torch"
