"""Names from a list, as its lines come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs.base import Unreadable, nothing_done
from edge_client.inputs.factory import open_source
from edge_client.inputs.files import ListedFiles
from edge_client.inputs.pictures import PictureReader
from edge_client.inputs.recordings import RecordingReader
from shared.errors import ConfigError, SourceError
from tests.unit.edge_client.manifests import manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "more/c.png", "more/d.png", "with space.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (16, 16), 128).save(tmp_path / name)
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_line_is_a_file_a_folder_or_a_pattern(folder: Path) -> None:
    lines = [
        f"{folder}/b.png\n", "\n", f"{folder}/with space.png\r\n", f"{folder}/more\n", f"{folder}/empty\n",
        f"{folder}/gone.png\n", f"{folder}/*.png",
    ]  # fmt: skip
    items = list(ListedFiles(lines, PictureReader(manifest()), nothing_done, None))
    names = [str(Path(item.name).relative_to(folder)) for item in items]
    assert names == [
        "b.png", "with space.png", "more/c.png", "more/d.png", "empty", "gone.png", "a.png", "b.png", "with space.png",
    ]  # fmt: skip
    assert [name for name, item in zip(names, items, strict=True) if isinstance(item, Unreadable)] == [
        "empty",
        "gone.png",
    ]
    assert [item.id for item in items if isinstance(item, Sample)] == [0, 1, 2, 3, 6, 7, 8]


def test_a_line_is_read_when_its_sample_is_asked_for(folder: Path) -> None:
    asked: list[str] = []

    def lines() -> Iterator[str]:
        for name in ("a.png", "b.png", "more/c.png"):
            asked.append(name)
            yield f"{folder}/{name}\n"

    source = ListedFiles(lines(), PictureReader(manifest()), lambda name: name.endswith("a.png"), 2)
    assert source.count == 2
    items = iter(source)
    assert asked == []
    assert Path(next(items).name).name == "b.png"
    assert asked == ["a.png", "b.png"]
    # Two were the limit, the one that is done included: no further line is waited for.
    assert next(items, None) is None
    assert asked == ["a.png", "b.png"]


@pytest.mark.parametrize("name", ["~$scan.png", "~no one/scan.png", "x" * 256, "a\0b.png", "x" * 5000 + "/*.png"])
def test_a_name_that_no_file_has_is_one_that_cannot_be_read(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    lines = [name, "a.png"]
    wrong, good = ListedFiles(lines, PictureReader(manifest()), nothing_done, None)
    assert isinstance(wrong, Unreadable)
    assert isinstance(good, Sample)
    assert (wrong.name, good.name) == (name, "a.png")
    of_events = manifest((2, 34, 34), ("a", "b"), "events")
    (wrong,) = ListedFiles([f"{name}.bin"], RecordingReader(of_events), nothing_done, None)
    assert isinstance(wrong, Unreadable)


def test_a_tilde_that_is_nobodys_is_a_letter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir((folder / "a.png").rename(folder / "~$scan.png").parent)
    (item,) = ListedFiles(["~$scan.png"], PictureReader(manifest()), nothing_done, None)
    assert isinstance(item, Sample)


def test_the_list_stands_alone() -> None:
    for given in ({"images": ("-", "a.png")}, {"events": ("a.bin", "-")}):
        with pytest.raises(ConfigError, match="stands alone"):
            InputConfig(**given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--repeat"):
        InputConfig(images=("-",), repeat=2)


def test_hidden_files_are_no_pictures(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (folder / "._a.png").write_bytes(b"\0\5\x16\7")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "b.png").rename(folder / ".ipynb_checkpoints/b.png")
    (folder / "notes.txt").write_text("")
    (folder / "x.png").mkdir()
    found = list(open_source(InputConfig(images=(str(folder),)), manifest()))
    names = [str(Path(item.name).relative_to(folder)) for item in found]
    assert names == ["a.png", "more/c.png", "more/d.png", "with space.png"]
    assert all(isinstance(item, Sample) for item in found)
    (message,) = [message for message in caplog.messages if "left out" in message]
    assert "1 hidden (" in message
    assert "1 of another kind (" in message


def test_a_name_that_stands_for_nothing_is_said_at_once(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"typo\.png: no such file, and no pattern that matches one$"):
        open_source(InputConfig(images=(f"{folder}/typo.png",)), manifest())
    with pytest.raises(SourceError, match=r"typo\.png: no such file"):
        open_source(InputConfig(images=(f"{folder}/a.png", f"{folder}/typo.png")), manifest())
