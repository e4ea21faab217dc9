"""Files as samples: those that are named, and those that a list on standard input names.

os.path looks names up: Path raises for a name that is too long, and for what may not be looked at.
"""

# ruff: noqa: PTH110, PTH112, PTH113, PTH207

from __future__ import annotations

import glob
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from os.path import exists, isdir, isfile, lexists
from pathlib import Path
from typing import Protocol

from edge_client.inference.sample import Sample
from edge_client.inputs.base import Item, Skip, Source, Unreadable
from shared.command_line import existing_path
from shared.errors import SourceError


class FileReader(Protocol):
    """Reads files of one kind as a bundle's samples."""

    @property
    def what(self) -> str:
        """What they are, for people."""

    @property
    def suffixes(self) -> Collection[str]:
        """Which endings they have."""

    def sample(self, number: int, path: Path) -> Sample:
        """The file as sample `number`, named by its path; its label is the name of its folder, where that is a class.

        Raises:
            SourceError: it cannot be read.
        """


def read_item(reader: FileReader, number: int, path: Path) -> Item:
    """The sample, or that it cannot be read."""
    try:
        return reader.sample(number, path)
    except SourceError as error:
        return Unreadable(str(path), str(error).removeprefix(f"{path}: "))


class NamedFiles(Source):
    """Files, folders (searched to the bottom) and glob patterns, in the order named.

    Raises:
        SourceError: a folder holds nothing of this kind, or a name stands for nothing.
    """

    def __init__(self, names: Sequence[str], reader: FileReader, skip: Skip, limit: int | None) -> None:
        self._paths = [_known(path) for path in find_files(names, reader.suffixes, reader.what)[:limit]]
        self._reader = reader
        self._skip = skip
        self.count = len(self._paths)

    def __iter__(self) -> Iterator[Item]:
        for number, path in enumerate(self._paths):
            if not self._skip(str(path)):
                yield read_item(self._reader, number, path)


class ListedFiles(Source):
    """One name a line, as `NamedFiles` has them; read as the lines come. Empty lines do not count."""

    def __init__(self, lines: Iterable[str], reader: FileReader, skip: Skip, limit: int | None) -> None:
        self._lines = lines
        self._reader = reader
        self._skip = skip
        self.count = limit

    def __iter__(self) -> Iterator[Item]:
        number = 0
        for line in self._lines:
            name = line.rstrip("\r\n")
            for path in self._found(name) if name else ():
                if isinstance(path, Unreadable):
                    yield path
                elif not self._skip(str(path)):
                    yield read_item(self._reader, number, path)
                number += 1
                if number == self.count:
                    return

    def _found(self, name: str) -> Sequence[Path | Unreadable]:
        try:
            return find_files([name], self._reader.suffixes, self._reader.what)
        except SourceError as error:
            return [Unreadable(name, str(error))]


def _known(path: Path) -> Path:
    if not lexists(path):
        raise SourceError(f"{path}: no such file, and no pattern that matches one")
    return path


def standard_input() -> Iterator[str]:
    """Its lines, as they come; bytes that are no text are kept as they are in file names."""
    with open(0, encoding=sys.getfilesystemencoding(), errors="surrogateescape", closefd=False) as lines:
        yield from lines


def find_files(names: Sequence[str], suffixes: Collection[str], what: str) -> list[Path]:
    """Files, folders and glob patterns to the files they stand for, each once, folders and patterns sorted.

    In a folder those count that have one of `suffixes`. A name that stands for nothing is kept: it will be reported as
    unreadable in its place.

    Raises:
        SourceError: a folder holds none at all; `what` are the files, for people.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = existing_path(name)
        if isdir(path):
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and isfile(p))
            if not inside:
                raise SourceError(f"no {what} in folder {name}: it holds none of {', '.join(sorted(suffixes))}")
            found.update(dict.fromkeys(inside))
        elif exists(path):
            found[path] = None
        else:
            matches = sorted(glob.glob(str(path), recursive=True))  # Path.glob takes no absolute pattern
            found.update(dict.fromkeys(Path(match) for match in matches if isfile(match)) or {path: None})
    return list(found)
