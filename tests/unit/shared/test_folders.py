"""Which files of a folder count: hidden ones and those of another kind are left out, and counted."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from shared.folders import LeftOut, files_here, visible_files, visible_folders

KIND = frozenset({".png"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "B.PNG", "._a.png", "notes.txt", ".hidden/c.png", "more/d.png", "more/.ipynb/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "x.png").mkdir()
    return tmp_path


def names(paths: list[Path], folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in paths]


def test_what_counts(folder: Path) -> None:
    assert names(visible_files(folder, KIND), folder) == ["B.PNG", "a.png", "more/d.png"]
    assert names(files_here(folder, KIND), folder) == ["B.PNG", "a.png"]
    assert names(visible_folders(folder), folder) == ["more", "x.png"]


def test_what_is_left_out_is_counted_and_named_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for number in range(5):
        (folder / f"{number}.txt").write_bytes(b"")
    left_out = LeftOut()
    visible_files(folder, KIND, left_out)
    left_out.tell()
    left_out.tell()
    (message,) = caplog.messages
    assert "1 hidden (" in message
    assert "._a.png" in message
    assert "2 hidden folders (" in message
    assert "6 of another kind (" in message
    assert message.count(".txt") == 3


def test_names_that_are_no_text_are_escaped(tmp_path: Path) -> None:
    left_out = LeftOut()
    left_out.add("hidden", tmp_path / "\udcff\x1b[31m.txt")
    assert r"\udcff\x1b[31m" in str(left_out)


def test_links_that_lead_nowhere_or_in_circles_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "circle").symlink_to(tmp_path)
    left_out = LeftOut()
    assert visible_files(tmp_path, {".png"}, left_out) == [tmp_path / "a.png"]
    assert left_out.counts == {"no files": 1, "links to folders": 1}
