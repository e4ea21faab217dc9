"""Frames are read with the frames of their own sample that are committed before them, whatever happens between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloud_server.batch_runner import BatchRunner
from cloud_server.config import CloudConfig
from cloud_server.lane import Lane, load_lane
from cloud_server.scheduler import Queued
from cloud_server.work import Answered, Failed, Outcome, Work
from shared.bundle import Bundle, write_codec
from shared.messages import Codec, Frame, RejectionCode
from shared.metrics import CLOUD_METRICS, Metrics
from shared.spike_codec import SpikeCodec
from tests.support.bundles import load_split, make_bundle, random_inputs, reference_confidences, wire_frames
from tests.support.codec_tables import make_tables

SAMPLES = 3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = make_bundle(tmp_path_factory.mktemp("bundle"))
    tables = make_tables(made.manifest.frame_shape, depth=3, like=made_frames(made))
    return write_codec(made, tables.arrays())


@pytest.fixture(scope="module")
def frames(bundle: Bundle) -> NDArray[np.uint8]:
    return made_frames(bundle)


def made_frames(bundle: Bundle) -> NDArray[np.uint8]:
    network = load_split(bundle)
    return wire_frames(network, random_inputs(network.spec, SAMPLES, seed=1))


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> NDArray[np.float32]:
    network = load_split(bundle)
    return reference_confidences(network, random_inputs(network.spec, SAMPLES, seed=1)).numpy()


@pytest.fixture
def lane(bundle: Bundle) -> Lane:
    return load_lane(bundle, "b", CloudConfig((bundle.path,), slots=4, max_batch=4), torch.device("cpu"))


@pytest.fixture
def runner() -> Iterator[BatchRunner]:
    with torch.inference_mode():
        yield BatchRunner(Metrics(CLOUD_METRICS, {"bundle": ("b",)}))


def work(bundle: Bundle, frames: NDArray[np.uint8], sample: int, timestep: int, row: int | None = None) -> Work:
    """As the edge encodes it, with all frames of the sample before it."""
    codec = SpikeCodec.of(bundle)
    past = None
    for frame in frames[: timestep - 1, sample]:
        past = codec.after(past, frame)
    sent = codec.encode(frames[timestep - 1, sample], past)
    assert sent[0] is Codec.RANGE
    return Work(sample, sample if row is None else row, Frame(sample, timestep, *sent))


def run(runner: BatchRunner, lane: Lane, *works: Work) -> list[Outcome]:
    return runner.run(lane, [Queued("s", each.token, each, 0.0) for each in works])


def assert_answered(outcomes: list[Outcome], expected: NDArray[np.float32]) -> None:
    for outcome in outcomes:
        assert isinstance(outcome, Answered), outcome
        frame = outcome.work.frame
        assert np.allclose(outcome.confidences, expected[frame.timestep - 1, frame.sample], atol=1e-5, rtol=0)


def test_samples_at_different_timesteps_share_a_batch(
    runner: BatchRunner, lane: Lane, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    assert_answered(run(runner, lane, work(bundle, frames, 0, 1)), expected)
    assert_answered(run(runner, lane, work(bundle, frames, 0, 2), work(bundle, frames, 1, 1)), expected)
    assert_answered(run(runner, lane, work(bundle, frames, 1, 2), work(bundle, frames, 0, 3)), expected)
    assert_answered(run(runner, lane, work(bundle, frames, 1, 3), work(bundle, frames, 0, 4)), expected)


def test_a_new_owner_of_a_row_starts_without_a_past(
    runner: BatchRunner, lane: Lane, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    for timestep in (1, 2):
        run(runner, lane, work(bundle, frames, 0, timestep))
    for timestep in (1, 2, 3):
        assert_answered(run(runner, lane, work(bundle, frames, 1, timestep, row=0)), expected)


def test_a_frame_that_fails_to_decode_changes_nothing(
    runner: BatchRunner, lane: Lane, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    run(runner, lane, work(bundle, frames, 0, 1))
    before = lane.pasts[0].copy()
    for codec, data in ((0, b"\xff" * 20 + b"\0"), (1, b"x"), (9, b"")):
        (outcome,) = run(runner, lane, Work(0, 0, Frame(0, 2, codec, data)))
        assert isinstance(outcome, Failed)
        assert outcome.code is RejectionCode.INVALID_FRAME
        assert np.array_equal(lane.pasts[0], before)
    assert_answered(run(runner, lane, work(bundle, frames, 0, 2)), expected)


def test_a_batch_that_fails_commits_no_past(
    runner: BatchRunner,
    lane: Lane,
    bundle: Bundle,
    frames: NDArray[np.uint8],
    expected: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(runner, lane, work(bundle, frames, 0, 1), work(bundle, frames, 1, 1))
    before = {row: past.copy() for row, past in lane.pasts.items()}

    def fail(*_: Any) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as broken:
        broken.setattr(lane.tail, "step", fail)
        outcomes = run(runner, lane, work(bundle, frames, 0, 2), work(bundle, frames, 1, 2))
    assert all(isinstance(outcome, Failed) for outcome in outcomes)
    assert all(np.array_equal(lane.pasts[row], past) for row, past in before.items())
    assert_answered(run(runner, lane, work(bundle, frames, 0, 2), work(bundle, frames, 1, 2)), expected)
