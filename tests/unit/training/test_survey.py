from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from shared.errors import SourceError
from training.datasets.survey import Survey, survey_folder


def make(root: Path, **classes: int) -> Path:
    for name, count in classes.items():
        (root / name).mkdir()
        for i in range(count):
            Image.new("RGB", (4, 4)).save(root / name / f"{i:02d}.png")
    return root


def warnings(survey: Survey) -> Sequence[str]:
    return list(survey.warnings())


def test_pictures_that_will_do_get_no_warning(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    survey = survey_folder(make(tmp_path, cat=20, dog=24), lambda done, total: seen.append((done, total)))
    assert survey.classes == {"cat": 20, "dog": 24}
    assert (survey.pictures, survey.tested) == (44, 8)
    assert warnings(survey) == []
    assert seen[-1] == (44, 44)


def test_classes_that_are_too_small_are_named(tmp_path: Path) -> None:
    survey = survey_folder(make(tmp_path, cat=40, dog=3, emu=7), lambda *_: None)
    refused, few, unequal = warnings(survey)
    assert "refuse classes of fewer than 5 pictures: dog (3)" in refused
    assert "few pictures: emu (7)" in few
    assert "cat has 40 pictures, dog 3" in unequal


def test_files_that_cannot_be_read_are_named_and_counted(tmp_path: Path) -> None:
    make(tmp_path, cat=30, dog=30)
    for i in range(7):
        (tmp_path / "cat" / f"1{i}.png").write_bytes(b"no picture")
    (tmp_path / "dog" / "photo.xyz").write_bytes(b"another format")
    (tmp_path / "photo.xyz").write_bytes(b"beside the classes")
    (tmp_path / "dog" / ".DS_Store").write_bytes(b"hidden")
    survey = survey_folder(tmp_path, lambda *_: None)
    unreadable, ignored = warnings(survey)
    assert "at which training will stop: 7" in unreadable
    assert f"{tmp_path / 'cat' / '10.png'}: no picture in a format that is known here" in unreadable
    assert "and 2 more" in unreadable
    assert "15.png" not in unreadable
    assert "2 .xyz" in ignored


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has 0 subfolders"):
        survey_folder(tmp_path, lambda *_: None)


def test_classes_without_any_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none of its 2 subfolders holds a picture"):
        survey_folder(make(tmp_path, cat=0, dog=0), lambda *_: None)
