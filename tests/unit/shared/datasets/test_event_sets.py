from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from shared.datasets import DATASETS, list_pieces, load, load_split, make_request
from shared.datasets.event_collector import make_events
from shared.datasets.events import ON
from shared.datasets.simulated import file_name
from shared.errors import SourceError
from tests.support.recordings import write_bin
from tests.unit.shared.datasets.real_data import SAMPLES, needs_samples


def record(path: Path, x: int = 3, y: int = 5, n: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bin(path, make_events([x] * n, [y] * n, [1] * n, range(n)))


def test_nmnist_labels_come_from_folders(tmp_path: Path) -> None:
    for digit, number in ((7, 1), (2, 2), (7, 3)):
        record(tmp_path / "N-MNIST" / "Test" / str(digit) / f"{number:05d}.bin")
    split = load_split("nmnist", tmp_path, "test", timesteps=2, allow_partial=True)
    assert split.frames.shape == (3, 2, 2, 34, 34)
    assert split.labels.tolist() == [7, 2, 7]
    assert (split.frames[:, :, ON, 5, 3] == 2).all()


def test_nmnist_knows_how_many_there_should_be(tmp_path: Path) -> None:
    record(tmp_path / "N-MNIST" / "Test" / "0" / "00001.bin")
    with pytest.raises(SourceError, match="1 of 10000 recordings"):
        load_split("nmnist", tmp_path, "test")
    with pytest.raises(SourceError, match=r"no recordings in .*Train"):
        load_split("nmnist", tmp_path, "train", allow_partial=True)


def test_damaged_recording_is_named(tmp_path: Path) -> None:
    record(tmp_path / "N-MNIST" / "Test" / "0" / "00001.bin", x=200)
    with pytest.raises(SourceError, match=r"00001\.bin: damaged, an event at column 200"):
        load_split("nmnist", tmp_path, "test", allow_partial=True)


def test_ncaltech101_has_the_background_and_not_faces(tmp_path: Path) -> None:
    classes = DATASETS["ncaltech101"].classes
    assert len(classes) == 101
    assert "Faces" not in classes
    assert classes[:2] == ("BACKGROUND_Google", "Faces_easy")
    for number in (1, 2, 3):
        record(tmp_path / "N-Caltech101" / "Faces_easy" / f"image_{number:04d}.bin", x=100 * number // 3, y=50)
    data = load("ncaltech101", tmp_path, timesteps=2, size=32, allow_partial=True)
    assert data.train.frames.shape == (2, 2, 2, 32, 32)
    assert data.train.labels.tolist() == [1, 1]
    assert len(data.test) == 1


def aedat(path: Path, raw_x: int, raw_y: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"#!AER-DAT2.0\r\n" + struct.pack(">II", raw_y << 8 | raw_x << 1, 5))


def test_cifar10dvs_split_and_orientation(tmp_path: Path) -> None:
    for number in (0, 99, 100, 101):
        aedat(tmp_path / "CIFAR10-DVS" / "bird" / f"cifar10_bird_{number}.aedat", raw_x=10, raw_y=20)
    test = list_pieces(make_request("cifar10dvs", tmp_path, "test", allow_partial=True))
    train = list_pieces(make_request("cifar10dvs", tmp_path, "train", allow_partial=True))
    assert [piece.path.stem for piece in test] == ["cifar10_bird_0", "cifar10_bird_99"]
    assert [piece.path.stem for piece in train] == ["cifar10_bird_100", "cifar10_bird_101"]
    split = load_split("cifar10dvs", tmp_path, "test", timesteps=1, allow_partial=True)
    assert split.labels.tolist() == [2, 2]
    assert split.frames.shape == (2, 1, 2, 128, 128)
    assert np.argwhere(split.frames[0, 0, ON]).tolist() == [[127 - 10, 20]]


def test_cifar10dvs_names_need_a_number(tmp_path: Path) -> None:
    aedat(tmp_path / "CIFAR10-DVS" / "bird" / "bird.aedat", 0, 0)
    with pytest.raises(SourceError, match=r"bird\.aedat: expected a name"):
        load_split("cifar10dvs", tmp_path, "test", allow_partial=True)


def simulated(tmp_path: Path, frames: np.ndarray) -> None:
    folder = tmp_path / "cifar10dvs-sim"
    folder.mkdir()
    np.savez(folder / file_name("test", 8, 3, "count"), frames=frames, labels=np.zeros(len(frames), np.uint8))


def test_simulated_frames(tmp_path: Path) -> None:
    simulated(tmp_path, np.ones((2, 3, 2, 8, 8), np.uint8))
    assert len(load_split("cifar10dvs-sim", tmp_path, "test", size=8, timesteps=3, allow_partial=True)) == 2
    with pytest.raises(SourceError, match="2 of 1000 recordings"):
        load_split("cifar10dvs-sim", tmp_path, "test", size=8, timesteps=3)
    with pytest.raises(SourceError, match=r"no test_8x8_T4_count\.npz .*holds test_8x8_T3_count\.npz"):
        load_split("cifar10dvs-sim", tmp_path, "test", size=8, timesteps=4, allow_partial=True)


def test_damaged_simulated_frames_are_named(tmp_path: Path) -> None:
    simulated(tmp_path, np.ones((2, 3, 2, 8, 8), np.uint8))
    (path,) = (tmp_path / "cifar10dvs-sim").iterdir()
    with np.load(path) as stored:
        np.savez_compressed(path, **stored)
    packed = bytearray(path.read_bytes())
    packed[60:70] = bytes(10)
    path.write_bytes(packed)
    with pytest.raises(SourceError, match=r"test_8x8_T3_count\.npz: damaged \(Error -3 .*simulate it again"):
        load_split("cifar10dvs-sim", tmp_path, "test", size=8, timesteps=3, allow_partial=True)


def test_simulated_frames_of_the_wrong_shape(tmp_path: Path) -> None:
    simulated(tmp_path, np.ones((2, 3, 1, 8, 8), np.uint8))
    with pytest.raises(SourceError, match="damaged, frames are"):
        load_split("cifar10dvs-sim", tmp_path, "test", size=8, timesteps=3, allow_partial=True)


@needs_samples
def test_real_recording_as_a_set_of_one(tmp_path: Path) -> None:
    folder = tmp_path / "N-Caltech101" / "Faces_easy"
    folder.mkdir(parents=True)
    (folder / "image_0001.bin").symlink_to(SAMPLES / "ncaltech101_Faces_easy_image_0001.bin")
    split = load_split("ncaltech101", tmp_path, "test", timesteps=5, size=173, allow_partial=True)
    assert split.frames.sum((0, 2, 3, 4)).tolist() == [13_489] * 5
