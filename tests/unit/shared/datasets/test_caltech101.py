from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.datasets import list_pieces, load, load_split, make_request
from shared.datasets.caltech101 import CALTECH101, CLASSES, CLASSES_10, COUNTS, FOLDER, part_of, read_square
from shared.errors import SourceError

Image = pytest.importorskip("PIL.Image")


def write(path: Path, width: int, height: int, value: tuple[int, int, int] = (200, 10, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), value).save(path)


def test_classes_are_sorted_by_byte_without_the_background() -> None:
    assert list(CLASSES) == sorted(CLASSES)
    assert CLASSES[:6] == ("Faces", "Faces_easy", "Leopards", "Motorbikes", "accordion", "airplanes")
    assert "BACKGROUND_Google" not in CLASSES
    assert sum(COUNTS.values()) == 8677


def test_ec_snn_ids_name_the_ten_largest_classes_in_order() -> None:
    largest = sorted(COUNTS, key=lambda name: (-COUNTS[name], name))[:10]
    assert list(CLASSES_10) == largest


def test_last_fifth_of_a_class_is_test() -> None:
    paths = [Path(f"image_{i:04d}.jpg") for i in range(1, 12)]
    assert [p.name for p in part_of(paths, "test")] == ["image_0010.jpg", "image_0011.jpg"]
    assert len(part_of(paths, "train")) == 9


def test_any_format_and_shape_becomes_a_square(tmp_path: Path) -> None:
    for name, width, height in (("image_0001.png", 90, 40), ("image_0002.jpg", 40, 90), ("image_0003.webp", 16, 16)):
        write(tmp_path / name, width, height)
        frame = read_square(tmp_path / name, 32)
        assert frame.shape == (3, 32, 32)
        np.testing.assert_allclose(frame.reshape(3, -1).mean(1), (200, 10, 30), atol=4)


def test_centre_is_kept(tmp_path: Path) -> None:
    picture = np.zeros((32, 96, 3), np.uint8)
    picture[:, 32:64] = 255
    Image.fromarray(picture).save(tmp_path / "wide.png")
    assert read_square(tmp_path / "wide.png", 32).min() == 255


def test_grey_pictures_become_three_channels(tmp_path: Path) -> None:
    Image.new("L", (40, 40), 77).save(tmp_path / "grey.png")
    assert (read_square(tmp_path / "grey.png", 8) == 77).all()


def test_a_picture_is_turned_upright_as_a_camera_says(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_square(tmp_path / "x.png", 8).transpose(1, 2, 0), pixels[::-1])


def test_partial_set_keeps_labels_and_mixes_classes(tmp_path: Path) -> None:
    for name in ("Leopards", "ant"):
        for number in range(1, 6):
            write(tmp_path / FOLDER / name / f"image_{number:04d}.png", 20, 20)
    with pytest.raises(SourceError, match=r"0 of|no pictures"):
        load_split("caltech101", tmp_path, "test")
    data = load("caltech101", tmp_path, size=8, allow_partial=True)
    assert data.train.frames.shape == (8, 3, 8, 8)
    ant = CALTECH101.classes.index("ant")
    assert data.train.labels.tolist() == [2, ant] * 4
    assert data.test.labels.tolist() == [2, ant]


def test_incomplete_class_is_named(tmp_path: Path) -> None:
    write(tmp_path / FOLDER / "airplanes" / "image_0001.png", 20, 20)
    with pytest.raises(SourceError, match=r"1 of 800 pictures in .*airplanes"):
        list_pieces(make_request("caltech10", tmp_path, "train"))


def test_damaged_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "image_0001.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    with pytest.raises(SourceError, match=r"image_0001\.jpg: damaged"):
        read_square(path, 8)
