"""Files as samples: those that are named, and those that a list on standard input names.

os.path looks names up: Path raises for a name that is too long, and for what may not be looked at.
"""

# ruff: noqa: PTH110, PTH112, PTH113, PTH207

from __future__ import annotations

import glob
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from os.path import exists, isdir, isfile, lexists
from pathlib import Path
from typing import Protocol

from edge_client.inference.sample import Sample
from edge_client.inputs.base import FilePart, Item, Skip, Source, Unreadable
from shared.command_line import existing_path
from shared.errors import SourceError
from shared.folders import LeftOut, visible_files


class FileReader(Protocol):
    """Reads files of one kind as a bundle's samples."""

    @property
    def what(self) -> str:
        """What they are, for people."""

    @property
    def suffixes(self) -> Collection[str]:
        """Which endings they have."""

    @property
    def class_names(self) -> Sequence[str]:
        """The classes of the bundle."""

    def parts(self, path: Path, *, torn: bool = True) -> Iterator[FilePart]:
        """The samples of a file, in order.

        Args:
            path: of the file.
            torn: accept a file that lacks its last bytes, if the rest can be decoded.

        Raises:
            SourceError: it cannot be read.
        """


def written_at(path: Path) -> float | None:
    """When a file was last written, in seconds since 1970; None if there is none."""
    try:
        return path.stat().st_mtime
    except (OSError, ValueError):  # gone, or no name that a file can have
        return None


def label_of(path: Path, class_names: Sequence[str]) -> int | None:
    """The index of the class that the folder of a file is named by; None where it is named by none."""
    folder = path.absolute().parent.name
    return class_names.index(folder) if folder in class_names else None


def read_items(reader: FileReader, number: int, path: Path, skip: Skip, *, torn: bool = True) -> Iterator[Item | None]:
    """What a file holds: its samples, numbered from `number`, None for one that is done, or why it cannot be read.

    A sample's label is the name of the folder that holds the file, where that is a class.
    """
    label = label_of(path, reader.class_names)
    try:
        for part in reader.parts(path, torn=torn):
            if skip(part.name):
                yield None
            else:
                taken_at = written_at(path)
                yield Sample(number, part.name, label, part.read(), time_s=part.time_s, taken_at=taken_at)
            number += 1
    except SourceError as error:
        yield Unreadable(str(path), str(error).removeprefix(f"{path}: "))
    except MemoryError:
        yield Unreadable(str(path), "it needs more memory than there is")


class NamedFiles(Source):
    """Files, folders (searched to the bottom) and glob patterns, in the order named.

    Args:
        names: of them.
        reader: of the files.
        skip, limit: as of other sources.
        one_each: whether a file is one sample, so that it is known how many there are.

    Raises:
        SourceError: a name stands for nothing, or a folder holds nothing of this kind.
    """

    def __init__(
        self, names: Sequence[str], reader: FileReader, skip: Skip, limit: int | None, *, one_each: bool = True
    ) -> None:
        self._left_out = LeftOut()
        found = find_files(names, reader.suffixes, reader.what, self._left_out)[:limit]
        self._paths = [known_file(path) for path in found]
        self._reader = reader
        self._skip = skip
        self._limit = limit
        self.count = len(self._paths) if one_each else limit

    def __iter__(self) -> Iterator[Item]:
        yield from not_done(self._items(), self._limit)
        self._left_out.tell()

    def _items(self) -> Iterator[Item | None]:
        number = 0
        for path in self._paths:
            for item in read_items(self._reader, number, path, self._skip):
                yield item
                number += 1


class ListedFiles(Source):
    """One name a line, as `NamedFiles` has them; read as the lines come. Empty lines do not count."""

    def __init__(self, lines: Iterable[str], reader: FileReader, skip: Skip, limit: int | None) -> None:
        self._lines = lines
        self._reader = reader
        self._skip = skip
        self._left_out = LeftOut()
        self.count = limit

    def __iter__(self) -> Iterator[Item]:
        yield from not_done(self._items(), self.count)
        self._left_out.tell()

    def _items(self) -> Iterator[Item | None]:
        number = 0
        for line in self._lines:
            name = line.rstrip("\r\n")
            for path in self._found(name) if name else ():
                found = [path] if isinstance(path, Unreadable) else read_items(self._reader, number, path, self._skip)
                for item in found:
                    yield item
                    number += 1

    def _found(self, name: str) -> Sequence[Path | Unreadable]:
        try:
            return find_files([name], self._reader.suffixes, self._reader.what, self._left_out)
        except SourceError as error:
            return [Unreadable(name, str(error))]


def not_done(items: Iterator[Item | None], limit: int | None) -> Iterator[Item]:
    """The first `limit` items without those that are done already; nothing is read beyond them."""
    return (item for item in islice(items, limit) if item is not None)


def known_file(path: Path) -> Path:
    """The path.

    Raises:
        SourceError: nothing is there.
    """
    if not lexists(path):
        raise SourceError(f"{path}: no such file, and no pattern that matches one")
    return path


def standard_input() -> Iterator[str]:
    """Its lines, as they come; bytes that are no text are kept as they are in file names."""
    with open(0, encoding=sys.getfilesystemencoding(), errors="surrogateescape", closefd=False) as lines:
        yield from lines


def find_files(
    names: Sequence[str], suffixes: Collection[str], what: str, left_out: LeftOut | None = None
) -> list[Path]:
    """Files, folders and glob patterns to the files they stand for, each once, folders and patterns sorted.

    In a folder those count that have one of `suffixes` and are not hidden; `left_out` hears of the others. A name that
    stands for nothing is kept: it will be reported as unreadable in its place.

    Raises:
        SourceError: a folder holds none at all; `what` are the files, for people.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = existing_path(name)
        if isdir(path):
            inside = visible_files(path, suffixes, left_out)
            if not inside:
                raise SourceError(f"no {what} in folder {name}: it holds none of {', '.join(sorted(suffixes))}")
            found.update(dict.fromkeys(inside))
        elif exists(path):
            found[path] = None
        else:
            matches = sorted(glob.glob(str(path), recursive=True))  # Path.glob takes no absolute pattern
            found.update(dict.fromkeys(Path(match) for match in matches if isfile(match)) or {path: None})
    return list(found)
