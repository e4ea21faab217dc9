"""What the user names to the files that are meant.

os.path looks them up: Path raises for a name that is too long, and for what may not be looked at.
"""

# ruff: noqa: PTH110, PTH112, PTH113, PTH207

from __future__ import annotations

import glob
from collections.abc import Collection, Sequence
from os.path import exists, isdir, isfile
from pathlib import Path

from shared.command_line import existing_path
from shared.errors import SourceError


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
