"""A watched folder: what is there, what comes, what is still being written, and what never becomes a picture."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs import watched_folder
from edge_client.inputs.base import Item, Skip, Source, Unreadable, nothing_done
from edge_client.inputs.factory import open_source
from shared.errors import SourceError
from tests.support.processes import DEADLINE
from tests.unit.edge_client.manifests import manifest


def picture(side: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 50).save(buffer, "PNG")
    return buffer.getvalue()


class Watching:
    """A source that is iterated in a thread of its own."""

    def __init__(self, source: Source) -> None:
        self.items: queue.Queue[Item | Exception | None] = queue.Queue()
        self.source = source
        self.thread = threading.Thread(target=self._run)

    def next(self) -> Item | Exception | None:
        return self.items.get(timeout=DEADLINE)

    def name(self) -> str:
        """The next one, which must be a sample."""
        item = self.next()
        assert isinstance(item, Sample), item
        return Path(item.name).name

    def _run(self) -> None:
        try:
            for item in self.source:
                self.items.put(item)
        except SourceError as error:
            self.items.put(error)
        self.items.put(None)


@contextmanager
def watching(folder: Path, skip: Skip = nothing_done, limit: int | None = None) -> Iterator[Watching]:
    run = Watching(open_source(InputConfig(watch=folder, limit=limit), manifest(), skip))
    run.thread.start()
    try:
        yield run
    finally:
        run.source.close()
        run.thread.join(DEADLINE)
        assert not run.thread.is_alive()


def test_first_what_is_there_then_what_comes(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    for name in ("b.png", "7/a.png", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(picture())
    with watching(tmp_path) as run:
        first = run.next()
        assert isinstance(first, Sample)
        assert (Path(first.name).name, first.label, first.id) == ("a.png", 7, 0)
        assert run.name() == "b.png"
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "c.png").write_bytes(picture())
        assert run.name() == "c.png"
        # Moved into its place, and one that was seen already.
        (tmp_path / "b.png").write_bytes(picture())
        (tmp_path / "d.part").write_bytes(picture())
        (tmp_path / "d.part").rename(tmp_path / "d.png")
        assert run.name() == "d.png"
        # What was gone is new when it comes again.
        (tmp_path / "d.png").unlink()
        (tmp_path / "e.png").write_bytes(picture())
        assert run.name() == "e.png"
        (tmp_path / "d.png").write_bytes(picture())
        assert run.name() == "d.png"
    assert run.next() is None


def test_a_folder_that_comes_with_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "watched").mkdir()
    (tmp_path / "made" / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        (tmp_path / "made" / name).write_bytes(picture())
    with watching(tmp_path / "watched") as run:
        (tmp_path / "made").rename(tmp_path / "watched" / "made")
        assert [run.name(), run.name()] == ["a.png", "b.png"]
        for number in range(20):
            (tmp_path / "watched" / f"{number:02}").mkdir()
            (tmp_path / "watched" / f"{number:02}" / "c.png").write_bytes(picture())
        assert {run.name() for _ in range(20)} == {"c.png"}
        assert run.items.empty()


def test_a_file_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    whole = picture(256)
    with watching(tmp_path) as run:
        with (tmp_path / "slow.png").open("wb") as file:
            # Nothing comes of it until long after it would have settled: another one, which came later, is first.
            file.write(whole[: len(whole) // 2])
            file.flush()
            for other in ("x.png", "y.png"):
                (tmp_path / other).write_bytes(picture())
                assert run.name() == other
            file.write(whole[len(whole) // 2 :])
        assert run.name() == "slow.png"
        assert run.items.empty()


def test_what_is_no_picture_is_told_of_in_the_end_and_again_when_it_is_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_folder, "GIVE_UP_S", 1.0)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with watching(tmp_path) as run:
        item = run.next()
        assert isinstance(item, Unreadable)
        assert item.name == str(tmp_path / "bad.png")
        assert "no picture" in item.reason
        (tmp_path / "bad.png").write_bytes(picture())
        assert run.name() == "bad.png"


def test_what_is_done_is_left_out_and_the_limit_counts_it(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png", "d.png"):
        (tmp_path / name).write_bytes(picture())
    with watching(tmp_path, skip=lambda name: name.endswith("a.png"), limit=3) as run:
        assert [run.name(), run.name(), run.next()] == ["b.png", "c.png", None]


def test_the_limit_ends_it_when_nothing_more_comes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture())
    with watching(tmp_path, limit=2) as run:
        assert [run.name(), run.name(), run.next()] == ["a.png", "b.png", None]


def test_a_folder_that_is_not_there_or_goes_away(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        open_source(InputConfig(watch=tmp_path / "missing"), manifest())
    folder = tmp_path / "folder"
    folder.mkdir()
    with watching(folder) as run:
        (folder / "a.png").write_bytes(picture())
        assert run.name() == "a.png"
        (folder / "a.png").unlink()
        folder.rmdir()
        error = run.next()
        assert isinstance(error, SourceError)
        assert "is gone" in str(error)
