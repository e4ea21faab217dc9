"""Which files of a folder count, the same on the edge, in training and in evaluation: hidden ones never do."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

NAMED = 3
"""Files that are left out are named up to this many of each kind; the others are counted."""

log = logging.getLogger(__name__)


@dataclass
class LeftOut:
    """What a search passed over. The first names of each kind are kept, the others counted."""

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, path: Path) -> None:
        """One more."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if len(names := self.names.setdefault(kind, [])) < NAMED:
            names.append(ascii(str(path))[1:-1])

    def __str__(self) -> str:
        """For people; empty where nothing was left out."""
        return "; ".join(
            f"{count:,} {kind} ({', '.join(self.names[kind])}{', ...' if count > NAMED else ''})"
            for kind, count in self.counts.items()
        )

    def tell(self) -> None:
        """Log it, and forget it."""
        if self.counts:
            log.info("left out: %s", str(self))  # now: it is forgotten before a handler may look
        self.counts.clear()
        self.names.clear()


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a path below `folder` is hidden: its own name or that of a folder between begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def visible_files(folder: Path, suffixes: Collection[str], left_out: LeftOut | None = None) -> list[Path]:
    """Files in a folder, to the bottom, sorted, that are not hidden and end in one of `suffixes` (lower case)."""
    return sorted(_walk(folder, suffixes, left_out or LeftOut(), deep=True))


def files_here(folder: Path, suffixes: Collection[str], left_out: LeftOut | None = None) -> list[Path]:
    """As `visible_files`, of this folder alone."""
    return sorted(_walk(folder, suffixes, left_out or LeftOut(), deep=False))


def visible_entries(folder: Path, left_out: LeftOut | None = None) -> list[Path]:
    """What is in a folder, sorted, and not hidden."""
    entries = sorted(folder.iterdir())
    for path in entries:
        if left_out is not None and path.name.startswith("."):
            left_out.add("hidden folders" if path.is_dir() else "hidden", path)
    return [path for path in entries if not path.name.startswith(".")]


def visible_folders(folder: Path, left_out: LeftOut | None = None) -> list[Path]:
    """The folders among it."""
    return [path for path in visible_entries(folder, left_out) if path.is_dir()]


def _walk(folder: Path, suffixes: Collection[str], left_out: LeftOut, *, deep: bool) -> Iterator[Path]:
    # os.walk passes over what may not be looked at; Path.rglob follows no links to folders in some versions.
    for place, folders, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place, name)
            if name.startswith("."):
                left_out.add("hidden", path)
            elif path.suffix.lower() not in suffixes:
                left_out.add("of another kind", path)
            elif path.is_file():
                yield path
            else:
                left_out.add("no files", path)
        for name in folders:
            if name.startswith("."):
                left_out.add("hidden folders", Path(place, name))
            elif deep and Path(place, name).is_symlink():
                left_out.add("links to folders", Path(place, name))
        folders[:] = sorted(name for name in folders if deep and not name.startswith("."))
