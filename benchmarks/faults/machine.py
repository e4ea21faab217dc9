"""What can break on a machine without breaking it for others: a disk of its own that fills up, a clock that jumps."""

from __future__ import annotations

import contextlib
import errno
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

DISK = "4m"
"""A few thousand verdicts and the logs beside them."""

CHUNK = bytes(4096)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[str | None]:
    """Mount a small disk on `folder`; yields why it could not, or None."""
    folder.mkdir(parents=True, exist_ok=True)
    done = _run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "faults", str(folder))
    try:
        yield done
    finally:
        if done is None:
            _run("umount", "--lazy", str(folder))


def fill(folder: Path) -> Path:
    """Take all the room that is left on the disk of `folder`; returns the file, whose end makes room again."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(CHUNK)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return filler


class WallClock:
    """A wall clock for the processes that are started with `variables`; the machine's own is left alone.

    A library in C is preloaded into them. `missing` says why it could not be made; then `variables` are none.
    """

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "wall-clock-offset"
        library = folder / "wall_clock.so"
        source = Path(__file__).with_name("wall_clock.c")
        self._offset.write_bytes(bytes(8))
        self.missing = _run("cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl")
        preloaded = {"LD_PRELOAD": str(library.absolute()), "WALL_CLOCK_OFFSET": str(self._offset.absolute())}
        self.variables = {} if self.missing else preloaded

    def jump(self, seconds: int) -> None:
        """Let it be off by so many seconds, at once."""
        with self._offset.open("r+b", buffering=0) as file:
            file.write(struct.pack("q", seconds))


def _run(program: str, *arguments: str) -> str | None:
    """Why it failed, or None."""
    found = shutil.which(program)
    if found is None:
        return f"there is no {program} here"
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)  # noqa: S603  our own words
    return None if done.returncode == 0 else f"{program}: {done.stderr.strip()}"
