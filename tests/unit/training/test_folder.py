from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from shared.errors import SourceError
from training.datasets.folder import list_classes, load_folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of five pictures; each picture has a brightness of its own."""
    for number, name in enumerate(("dark", "light")):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (4, 4), (100 * number + 10 * i,) * 3).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_every_fifth_picture_of_a_class_is_for_testing(pictures: Path) -> None:
    folder = load_folder(pictures, 2, 1)
    assert folder.classes == ("dark", "light")
    assert folder.test.frames[:, 0, 0, 0].tolist() == [40, 140]
    assert folder.train.frames[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 100, 110, 120, 130]


def test_what_is_hidden_and_what_is_no_picture_does_not_count(pictures: Path) -> None:
    (pictures / ".ipynb_checkpoints").mkdir()
    (pictures / "dark" / "._0.png").write_bytes(b"a system's notes")
    (pictures / "dark" / "notes.txt").write_text("mine")
    listed = list_classes(pictures)
    assert list(listed) == ["dark", "light"]
    assert [file.name for file in listed["dark"]] == [f"{i}.png" for i in range(5)]


def test_a_class_of_too_few_pictures_is_named(pictures: Path) -> None:
    (pictures / "light" / "4.png").unlink()
    with pytest.raises(SourceError, match="light has 4 pictures: each class needs 5"):
        load_folder(pictures, 2, 3)


def test_one_class_is_none(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has 0 subfolders"):
        load_folder(pictures / "dark", 2, 3)
    with pytest.raises(SourceError, match="no folder"):
        load_folder(tmp_path / "none", 2, 3)
