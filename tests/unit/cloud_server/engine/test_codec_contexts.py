"""A frame is decoded with the codec's context of its own sample, whatever happens between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloud_server.config import CloudConfig
from cloud_server.engine.batch_runner import BatchRunner
from cloud_server.engine.decoder import Decoder
from cloud_server.engine.loaded_bundle import LoadedBundle, load_bundle
from cloud_server.engine.requests import DecodedFrame, Failed, Outcome, StepRequest
from shared.bundle import Bundle
from shared.bundle_writer import write_codec
from shared.messages import Codec, Frame, RejectionCode
from tests.support.bundles import make_bundle
from tests.support.codec_tables import make_tables
from tests.support.engine import NAME, assert_answer, bundle_metrics, make_request, queued, run_batch
from tests.support.known import known_frames


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = make_bundle(tmp_path_factory.mktemp("bundle"))
    tables = make_tables(made.manifest.frame_shape, depth=3, like=known_frames(made))
    return write_codec(made, tables.arrays())


@pytest.fixture
def loaded(bundle: Bundle) -> LoadedBundle:
    return load_bundle(bundle, NAME, CloudConfig((bundle.path,), slots=4, max_batch=4))


@pytest.fixture
def runner(loaded: LoadedBundle) -> Iterator[BatchRunner]:
    with torch.inference_mode():
        yield BatchRunner(loaded, bundle_metrics())


def range_request(
    loaded: LoadedBundle, frames: NDArray[np.uint8], sample: int, timestep: int, row: int | None = None
) -> StepRequest:
    made = make_request(loaded, frames, sample, timestep, row)
    assert made.frame.codec is Codec.RANGE
    return made


def assert_answered(outcomes: list[Outcome], expected: NDArray[np.float32]) -> None:
    for outcome in outcomes:
        assert_answer(outcome, expected)


def test_samples_at_different_timesteps_share_a_batch(
    runner: BatchRunner, loaded: LoadedBundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    assert_answered(run_batch(runner, range_request(loaded, frames, 0, 1)), expected)
    assert_answered(
        run_batch(runner, range_request(loaded, frames, 0, 2), range_request(loaded, frames, 1, 1)), expected
    )
    assert_answered(
        run_batch(runner, range_request(loaded, frames, 1, 2), range_request(loaded, frames, 0, 3)), expected
    )
    assert_answered(
        run_batch(runner, range_request(loaded, frames, 1, 3), range_request(loaded, frames, 0, 4)), expected
    )


def test_a_new_owner_of_a_row_starts_without_a_context(
    runner: BatchRunner, loaded: LoadedBundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    for timestep in (1, 2):
        run_batch(runner, range_request(loaded, frames, 0, timestep))
    for timestep in (1, 2, 3):
        assert_answered(run_batch(runner, range_request(loaded, frames, 1, timestep, row=0)), expected)


def test_a_frame_that_fails_to_decode_changes_nothing(
    runner: BatchRunner, loaded: LoadedBundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    run_batch(runner, range_request(loaded, frames, 0, 1))
    before = loaded.slots.last_frames[0]
    for codec, data in ((0, b"\xff" * 20 + b"\0"), (1, b"x"), (9, b"")):
        (outcome,) = run_batch(runner, StepRequest(0, 0, Frame(0, 2, codec, data)))
        assert isinstance(outcome, Failed)
        assert outcome.code is RejectionCode.INVALID_FRAME
        assert loaded.slots.last_frames[0] is before
    assert_answered(run_batch(runner, range_request(loaded, frames, 0, 2)), expected)


def test_a_batch_that_fails_commits_no_context(
    runner: BatchRunner,
    loaded: LoadedBundle,
    frames: NDArray[np.uint8],
    expected: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_batch(runner, range_request(loaded, frames, 0, 1), range_request(loaded, frames, 1, 1))
    before = loaded.slots.last_frames[:2]

    def fail(*_: Any) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as broken:
        broken.setattr(loaded.tail, "step", fail)
        outcomes = run_batch(runner, range_request(loaded, frames, 0, 2), range_request(loaded, frames, 1, 2))
    assert all(isinstance(outcome, Failed) for outcome in outcomes)
    assert loaded.slots.last_frames[:2] == before
    assert_answered(
        run_batch(runner, range_request(loaded, frames, 0, 2), range_request(loaded, frames, 1, 2)), expected
    )


def test_a_frame_is_decoded_while_the_one_before_it_is_not_committed(
    runner: BatchRunner, loaded: LoadedBundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    first, second, third = (queued(range_request(loaded, frames, 0, timestep)) for timestep in (1, 2, 3))
    Decoder().decode(loaded, first)
    Decoder().decode(loaded, second, running=first)
    assert loaded.slots.last_frames == [None] * 4, "decoding commits nothing"
    Decoder().decode(loaded, third, running=second)
    for batch in (first, second, third):
        assert isinstance(batch[0].item.decoded, DecodedFrame)
        assert_answered(runner.outcomes(runner.step(batch, 0.0)), expected)
    assert loaded.slots.last_frames[0] is third[0].item.decoded


def test_without_the_frame_before_there_is_no_state_to_go_on_from(
    runner: BatchRunner, loaded: LoadedBundle, frames: NDArray[np.uint8]
) -> None:
    before = queued(StepRequest(0, 0, Frame(0, 1, 9, b"")))
    Decoder().decode(loaded, before)
    late = queued(range_request(loaded, frames, 0, 2))
    Decoder().decode(loaded, late, running=before)
    assert isinstance(late[0].item.decoded, Failed)
    assert late[0].item.decoded.code is RejectionCode.STATE_LOST
