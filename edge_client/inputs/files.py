"""Files as samples: those that are named, and those that a list on standard input names."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from edge_client.files import find_files
from edge_client.sources import Item, Sample, Skip, Source, Unreadable
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
        SourceError: a folder holds nothing of this kind.
    """

    def __init__(self, names: Sequence[str], reader: FileReader, skip: Skip, limit: int | None) -> None:
        self._paths = find_files(names, reader.suffixes, reader.what)[:limit]
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


def standard_input() -> Iterator[str]:
    """Its lines, as they come; bytes that are no text are kept as they are in file names."""
    with open(0, encoding=sys.getfilesystemencoding(), errors="surrogateescape", closefd=False) as lines:
        yield from lines
