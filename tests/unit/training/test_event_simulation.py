from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.datasets.events import bin_events
from tests.unit.shared.datasets.real_data import SAMPLES, needs_samples
from training.event_simulation import CIFAR10_DVS, NCALTECH101, Camera, Motion, luminance, record, resize, simulate

IDEAL = Camera(
    motion=Motion((0.0, 10_000.0), (0.0, 2.0), (0.0, 0.0)),
    box=(16, 16),
    crop=4,
    threshold_on=0.2,
    threshold_off=0.2,
    mismatch=0.0,
    floor=0.1,
    blur=0.0,
    refractory_us=0.0,
    leak_hz=0.0,
    noise_hz=0.0,
    step_us=500.0,
)


def edge(side: int = 16) -> np.ndarray:
    """Dark on the left, bright on the right."""
    image = np.full((side, side), 0.1, np.float32)
    image[:, side // 2 :] = 0.9
    return image


def test_a_still_picture_makes_no_events() -> None:
    still = replace(IDEAL, motion=Motion((0.0, 10_000.0), (1.0, 1.0), (0.0, 0.0)))
    assert len(simulate(edge(), still, (12, 12), seed=0)) == 0


def test_a_dark_edge_moving_in_makes_off_events_only_where_it_passes() -> None:
    events = simulate(edge(), IDEAL, (12, 12), seed=0)
    assert len(events) > 0
    assert not events["polarity"].any()
    assert set(events["x"]) == {6, 7}  # the edge stood before column 6 and moved 2 pixels right
    assert len(np.unique(events["y"])) == 12


def test_the_number_of_events_is_the_contrast_over_the_threshold() -> None:
    events = simulate(edge(), IDEAL, (12, 12), seed=0)
    contrast = np.log((0.9 + 0.1) / (0.1 + 0.1))
    per_pixel = np.bincount(events["y"].astype(int) * 12 + events["x"])
    crossed = per_pixel[per_pixel > 0]
    assert abs(crossed.mean() - contrast / IDEAL.threshold_off) < 0.5
    assert crossed.max() - crossed.min() <= 1  # the memory starts anywhere within the threshold


def test_there_and_back_is_balanced() -> None:
    back = replace(IDEAL, motion=Motion((0.0, 10_000.0, 20_000.0), (0.0, 2.0, 0.0), (0.0, 0.0, 0.0)))
    events = simulate(edge(), back, (12, 12), seed=3)
    share = events["polarity"].mean()
    assert 0.4 < share < 0.6
    assert events["polarity"][-1]
    assert not events["polarity"][0]


def test_times_are_ordered_within_the_motion_and_finer_than_a_step() -> None:
    events = simulate(edge(), replace(IDEAL, step_us=5_000.0), (12, 12), seed=0)
    assert events["t"].min() >= 0
    assert events["t"].max() <= 10_000
    assert (np.diff(events["t"]) >= 0).all()
    assert len(np.unique(events["t"])) > 4


def test_smaller_steps_hardly_change_the_events() -> None:
    image = np.random.default_rng(0).random((16, 16), np.float32)
    coarse, fine = (len(simulate(image, replace(IDEAL, step_us=s), (12, 12), seed=0)) for s in (500.0, 50.0))
    assert abs(coarse / fine - 1) < 0.03


def test_a_blind_time_thins_the_events() -> None:
    free = simulate(edge(), IDEAL, (12, 12), seed=0)
    blind = simulate(edge(), replace(IDEAL, refractory_us=2_000.0), (12, 12), seed=0)
    assert 0 < len(blind) < len(free)
    for pixel in {(e["x"], e["y"]) for e in blind}:
        t = blind["t"][(blind["x"] == pixel[0]) & (blind["y"] == pixel[1])]
        assert (np.diff(t) >= 1_999).all()


def test_leak_is_on_and_noise_is_both() -> None:
    still = replace(IDEAL, motion=Motion((0.0, 1e6), (0.0, 0.0), (0.0, 0.0)), step_us=10_000.0)
    leak = simulate(edge(), replace(still, leak_hz=5.0), (12, 12), seed=0)
    assert leak["polarity"].all()
    assert abs(len(leak) / 144 - 5) < 0.6
    noise = simulate(edge(), replace(still, noise_hz=20.0), (12, 12), seed=0)
    assert abs(len(noise) / 144 - 20) < 2
    assert 0.45 < noise["polarity"].mean() < 0.55


def test_seeds_repeat_and_differ() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    camera = replace(IDEAL, mismatch=0.2)
    one, again, other = (record(picture, camera, seed=s)[0] for s in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_record_scales_into_the_box_and_keeps_aspect() -> None:
    picture = np.zeros((3, 100, 200), np.uint8)
    _, sensor = record(picture, NCALTECH101, seed=0)
    assert sensor == (120 - 7, 240 - 7)
    _, sensor = record(picture[:, :32, :32], CIFAR10_DVS, seed=0)
    assert sensor == (128, 128)


def test_luminance_and_resize() -> None:
    white = luminance(np.full((3, 4, 4), 255, np.uint8))
    np.testing.assert_allclose(white, 1, atol=1e-6)
    assert luminance(np.zeros((1, 4, 4), np.uint8)).shape == (4, 4)
    np.testing.assert_allclose(resize(white, 7, 9), np.ones((7, 9)), atol=1e-6)


@needs_samples
def test_simulated_cifar10dvs_resembles_the_recording() -> None:
    image = pytest.importorskip("PIL.Image")
    tiles = SAMPLES.parents[1] / "cifar10" / "test_03.webp"
    if not tiles.is_file():
        pytest.skip("no CIFAR-10 pictures beside the recordings")
    row, column = divmod(8537 - 7500, 50)
    with image.open(tiles) as mosaic:
        tile = np.asarray(mosaic)[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
    with np.load(SAMPLES / "frames_T5.npz") as stored:
        real = stored["cifar10_dvs"].astype(int)[..., ::-1]
    events, sensor = record(tile.transpose(2, 0, 1), CIFAR10_DVS, seed=1)
    made = bin_events(events, 5, sensor).astype(int)
    assert abs(made.sum() / real.sum() - 1) < 0.02
    assert abs(made[:, 0].sum() / made.sum() - real[:, 0].sum() / real.sum()) < 0.02
    correlation = np.corrcoef(made.sum((0, 1)).ravel(), real.sum((0, 1)).ravel())[0, 1]
    assert correlation > 0.84
    mirrored = np.corrcoef(made.sum((0, 1))[:, ::-1].ravel(), real.sum((0, 1)).ravel())[0, 1]
    assert mirrored < 0.5
