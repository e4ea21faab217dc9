"""What the readers share: files opened with errors for people, text headers, fixed-size events in blocks."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shared.datasets.event_type import BLOCK
from shared.errors import SourceError

LONGEST_LINE = 1 << 16
LONGEST_HEADER = 1 << 20
DECISIVE = frozenset({"version", "width", "height", "evt", "format", "geometry", "endianness"})
"""Fields of a header that say how the rest is to be read."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file, opened to be read.

    Raises:
        SourceError: it cannot be opened or read; other SourceErrors of the body get its name.
    """
    try:
        if not S_ISREG(path.stat().st_mode):  # a pipe or a device has no end
            raise SourceError("it is no file")
        with path.open("rb") as file:
            yield file
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise SourceError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def header_lines(file: BinaryIO, mark: bytes, last: re.Pattern[bytes] | None = None) -> list[str]:
    """The leading lines that start with `mark`, without it; the file then stands at the first byte after them.

    The line `last` ends them, where there is one: what comes after it may look like one more line.

    Raises:
        SourceError: they do not end.
    """
    lines: list[str] = []
    while True:
        start = file.tell()
        line = file.readline(LONGEST_LINE)
        if not line.startswith(mark):
            file.seek(start)
            return lines
        if start > LONGEST_HEADER or len(line) == LONGEST_LINE:
            raise SourceError("damaged, its header does not end: replace the file")
        lines.append(line[len(mark) :].decode("latin-1").strip())
        if last is not None and last.match(line):
            return lines


def header_fields(lines: list[str]) -> dict[str, str]:
    """The values of lines such as `Width 304`, `width: 304` or `evt 3.0` by name in lower case; others have ''.

    Raises:
        SourceError: a line says of the same name what an earlier one did not.
    """
    fields: dict[str, str] = {}
    for line in lines:
        name, *value = re.split(r"[\s:=]+", line.strip(), maxsplit=1)
        said = value[0].strip() if value else ""
        if fields.setdefault(name.lower(), said) != said and name.lower() in DECISIVE:
            raise SourceError(f"damaged, its header says {name} {fields[name.lower()][:40]} and {said[:40]}")
    return fields


def bytes_left(file: BinaryIO) -> int:
    """How many bytes come."""
    return os.fstat(file.fileno()).st_size - file.tell()


def blocks(file: BinaryIO, kind: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """The rest of the file as arrays [n] of `kind`, n up to `BLOCK`; bytes that are no whole element are left out."""
    while len(raw := file.read(BLOCK * kind.itemsize)) >= kind.itemsize:
        yield np.frombuffer(raw, kind, len(raw) // kind.itemsize)


def whole_events(file: BinaryIO, size: int, what: str) -> int:
    """How many events of `size` bytes come.

    Raises:
        SourceError: no whole number of them, or the file is empty.
    """
    left = bytes_left(file)
    if not left and not file.tell():
        raise SourceError("it is empty: 0 bytes")
    if left % size:
        raise SourceError(f"damaged, {left} bytes {what}is not a number of {size}-byte events: replace the file")
    return left // size


def set_bits(words: NDArray[np.int64], make_room: Callable[[int], None]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(which word, which bit) of each bit that is set in words [n] of 32 bits, the lowest first.

    `make_room` is called with their number before they are written out.
    """
    bits = np.unpackbits(words.astype("<u4").view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
    make_room(int(bits.sum()))
    word, bit = np.nonzero(bits)
    return word, bit
