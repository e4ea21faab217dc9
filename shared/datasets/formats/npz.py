"""`.npz`: numpy's arrays x, y, t and polarity (or p). Nothing is expanded before its size is known."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from shared.datasets.event_collector import Recording, collect_arrays
from shared.datasets.formats.disk import opened
from shared.errors import SourceError

NPY = ".npy"
"""What the files in an .npz file end in."""

EVENT_ARRAYS = frozenset({"x", "y", "t", "polarity", "p"})
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npz(path: Path, most_bytes: int | None = None) -> Recording:
    """Arrays `x`, `y`, `t` (us) and `polarity` or `p`, all [n], in any order of time.

    Raises:
        SourceError: not an npz file, damaged, too large, an array is missing, or a number is none of an event's.
    """
    return events_among(read_arrays(path, most_bytes), path, most_bytes)


def events_among(arrays: Mapping[str, NDArray[Any]], path: Path, most_bytes: int | None = None) -> Recording:
    """The events of an .npz file's arrays, see `read_npz`; `path` is for people.

    Raises:
        SourceError: an array is missing, their lengths differ, or a number is none of an event's.
    """
    if {"polarity", "p"} <= set(arrays):
        raise SourceError(f"{path}: it holds both polarity and p: leave one of them out")
    names = ("x", "y", "polarity" if "polarity" in arrays else "p", "t")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise SourceError(f"{path}: not an npz file of events with x, y, t and polarity (no {', '.join(missing)})")
    try:
        x, y, polarity, t = (arrays[name] for name in names)
        return collect_arrays(x, y, polarity, t, most_bytes)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None


def read_arrays(path: Path, most_bytes: int | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, by name; of one with events (an `x`) theirs alone, whatever stands beside them.

    Raises:
        SourceError: not an npz file, damaged, or together more than `most_bytes` (it is not expanded then).
    """
    with opened(path) as file:
        file.read(1)
    try:
        # Not np.load: it reads an array to its end, and no further, so that a checksum is not always looked at.
        with ZipFile(path) as stored:
            names = [name.removesuffix(NPY) for name in stored.namelist() if name.endswith(NPY)]
            if "x" in names:
                names = [name for name in names if name in EVENT_ARRAYS]
            if len(names) != len(set(names)):
                raise ValueError("an array is in it twice")
            size = sum(stored.getinfo(name + NPY).file_size for name in names)
            if most_bytes is not None and size > most_bytes:
                most = f"--max-recording {most_bytes // 1_000_000:,} MB"
                raise SourceError(f"its arrays take {-(-size // 1_000_000):,} MB: more than {most}")
            return {name: _array(stored, name + NPY) for name in names}
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
    # A damaged file makes zipfile, its decompressors and numpy raise nearly anything: BadZipFile, zlib.error...
    except Exception as error:
        raise SourceError(f"{path}: damaged or not an npz file ({error}): replace the file") from None


def _array(stored: ZipFile, name: str) -> NDArray[Any]:
    """One array. zipfile reads no more than the size that it says; a header that says more is refused."""
    raw = stored.read(name)
    head = BytesIO(raw)
    read_header = HEADERS.get(npy.read_magic(head))
    if read_header is None:
        raise ValueError(f"{name} has an unknown version of numpy's format")
    shape, by_columns, kind = read_header(head)
    if kind.hasobject:
        raise ValueError(f"{name} holds Python objects, no numbers")
    if len(raw) - head.tell() != prod(shape) * kind.itemsize:
        raise ValueError(f"{name} does not hold the {list(shape)} numbers that it says")
    flat = np.frombuffer(raw, kind, offset=head.tell())
    return flat.reshape(shape, order="F" if by_columns else "C")
