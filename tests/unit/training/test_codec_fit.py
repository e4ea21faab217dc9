"""Fitted tables find what hangs together in spikes, and the command writes them into a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.spike_codec import CodecTables, SpikeCodec
from tests.support.bundles import make_bundle
from training.__main__ import main_group
from training.codec_fit import TABLE_BYTES, fit_tables
from training.collect_spikes import bundle_spikes
from training.commands.codec import encoded_sizes, zero_order_bytes
from training.data import evenly_spaced


@pytest.fixture(scope="module")
def clips() -> NDArray[np.uint8]:
    """[300, 3, 2, 6, 8]: blobs at random places, the same in both channels and timesteps; a tenth of each flickers."""
    random = np.random.default_rng(0)
    coarse = random.random((300, 1, 1, 3, 4)) < 0.2
    blobs = coarse.repeat(2, axis=3).repeat(2, axis=4).repeat(2, axis=2).repeat(3, axis=1)
    return (blobs & (random.random((300, 3, 2, 6, 8)) < 0.9)).astype(np.uint8)


def mean_bytes(tables: CodecTables, clips: NDArray[np.uint8]) -> float:
    codec = SpikeCodec(clips.shape[2:], tables)
    return float(np.mean([encoded_sizes(codec, clip) for clip in clips]))


def test_neighbours_and_the_past_are_found(clips: NDArray[np.uint8]) -> None:
    train, test = clips[:200], clips[200:]
    entropy = np.mean([zero_order_bytes(test[:, timestep]) for timestep in range(3)])
    alone = mean_bytes(fit_tables(train, depth=0, neighbours=False), test)
    past = mean_bytes(fit_tables(train, neighbours=False), test)
    everything = mean_bytes(fit_tables(train), test)
    assert everything < 0.8 * past < 0.8 * alone
    assert everything < 0.8 * entropy


def test_frames_come_back_with_fitted_tables(clips: NDArray[np.uint8]) -> None:
    codec = SpikeCodec((2, 6, 8), fit_tables(clips[:50]))
    for clip in clips[50:80]:
        past = None
        for frame in clip:
            assert np.array_equal(codec.decode(*codec.encode(frame, past), past), frame)
            past = codec.next_context(past, frame)


def test_tables_of_large_frames_stay_small() -> None:
    random = np.random.default_rng(0)
    frames = (random.random((6, 4, 8, 32, 32)) < 0.1).astype(np.uint8)
    tables = fit_tables(frames, neighbours=False)
    assert tables.model is not None
    assert tables.model.base.nbytes <= TABLE_BYTES
    frame = frames[0, 0]
    codec = SpikeCodec((8, 32, 32), tables)
    assert np.array_equal(codec.decode(*codec.encode(frame)), frame)


def test_one_timestep_is_enough(clips: NDArray[np.uint8]) -> None:
    assert mean_bytes(fit_tables(clips[:200, :1]), clips[200:, :1]) < 12


def test_the_command_writes_tables_into_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for steps in ("STEPS", "LEAST_STEPS"):  # how good the tables are, the tests above say
        monkeypatch.setattr(f"training.codec_fit.{steps}", 30)
    bundle = make_bundle(tmp_path / "bundle")
    command = ["codec", "--bundle", str(bundle.path), "--dataset", "digits", "--limit", "60"]
    result = CliRunner().invoke(main_group, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "bits per" in result.output
    fitted = Bundle.open(bundle.path)
    assert fitted.fingerprint != bundle.fingerprint
    assert fitted.codec_arrays() is not None
    samples = np.random.default_rng(0).integers(0, 256, (3, 1, 16, 16), np.uint8)
    assert np.array_equal(bundle_spikes(bundle, samples), bundle_spikes(fitted, samples))


def test_a_spread_goes_from_end_to_end() -> None:
    samples = np.arange(100, dtype=np.uint8)
    assert evenly_spaced(samples, 3).tolist() == [0, 49, 99]
    assert evenly_spaced(samples, None) is samples
    assert len(evenly_spaced(samples, 1000)) == 100
