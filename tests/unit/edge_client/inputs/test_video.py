"""Frames of videos, made by OpenCV itself."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs.base import Skip, nothing_done
from edge_client.inputs.capture import Capture
from edge_client.inputs.factory import open_source
from edge_client.inputs.video import VideoSource
from shared.errors import ConfigError, SourceError
from tests.unit.edge_client.manifests import manifest

cv2 = pytest.importorskip("cv2")

FRAMES = 11
RGB = manifest((3, 16, 16))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lossless; frame n has red 20 n, green 100 and blue 255 - 20 n."""
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 10, (32, 24))
    assert writer.isOpened()
    for number in range(FRAMES):
        writer.write(np.full((24, 32, 3), (255 - 20 * number, 100, 20 * number), np.uint8))
    writer.release()
    return path


def take(video: Path, every: int = 1, limit: int | None = None, skip: Skip = nothing_done) -> list[Sample]:
    items = list(open_source(InputConfig(video=str(video), every=every, limit=limit), RGB, skip))
    assert all(isinstance(item, Sample) for item in items)
    return [item for item in items if isinstance(item, Sample)]


@pytest.mark.parametrize(("every", "limit"), [(1, None), (3, None), (3, 2), (20, None), (1, 100)])
def test_every_nth_frame_in_its_own_colours(video: Path, every: int, limit: int | None) -> None:
    expected = list(range(0, FRAMES, every))[:limit]
    source = open_source(InputConfig(video=str(video), every=every, limit=limit), RGB)
    assert source.count == len(expected)
    samples = take(video, every, limit)
    assert [sample.name for sample in samples] == [f"{video}#{number}" for number in expected]
    assert [sample.id for sample in samples] == list(range(len(expected)))
    for sample, number in zip(samples, expected, strict=True):
        assert sample.pixels.shape == (3, 16, 16)
        assert np.allclose(sample.pixels.mean(axis=(1, 2)), (20 * number, 100, 255 - 20 * number), atol=3)


def test_frames_that_are_done_are_passed_over(video: Path) -> None:
    names = [sample.name for sample in take(video, 2, skip=lambda name: name.endswith(("#0", "#4")))]
    assert names == [f"{video}#{number}" for number in (2, 6, 8, 10)]


def test_no_frame_is_waited_for_beyond_the_limit(video: Path) -> None:
    class Counted:
        grabbed = 0

        def __init__(self, capture: Capture) -> None:
            self.picture, self.release, self._capture = capture.picture, capture.release, capture
            self.frames, self.live = capture.frames, capture.live

        def grab(self) -> bool:
            self.grabbed += 1
            return self._capture.grab()

    source = open_source(InputConfig(video=str(video), every=3, limit=2), RGB)
    assert isinstance(source, VideoSource)
    assert source._capture is not None
    source._capture = counted = Counted(source._capture)  # type: ignore[assignment]
    assert len(list(source)) == 2
    assert counted.grabbed == 4


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text("no video")
    for wrong in (tmp_path / "x.mp4", tmp_path / "missing.avi"):
        with pytest.raises(SourceError, match=r"--video .*(x\.mp4|missing\.avi): cannot be opened"):
            take(wrong)
    with pytest.raises(SourceError, match=r"camera97: cannot be opened: see that it is plugged in"):
        open_source(InputConfig(video="97"), RGB)
    with pytest.raises(SourceError, match="takes recordings of events"):
        open_source(InputConfig(video="x.avi"), manifest((2, 16, 16), input_kind="events"))
    with pytest.raises(ConfigError, match="--every is 0"):
        InputConfig(video="x.avi", every=0)


def test_a_video_that_was_cut_off_gives_what_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cut, noise = tmp_path / "cut.avi", np.random.default_rng(0)
    writer = cv2.VideoWriter(str(cut), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(FRAMES):
        writer.write(noise.integers(0, 256, (64, 64, 3), np.uint8))
    writer.release()
    raw = cut.read_bytes()
    cut.write_bytes(raw[: len(raw) * 3 // 5])
    with caplog.at_level(logging.WARNING):
        samples = take(cut)
    assert 0 < len(samples) < FRAMES
    assert f"cut.avi: ended after frame {len(samples)} of" in caplog.text
