"""Recordings of event cameras from disk: `read_recording(path)` chooses the reader by the file's suffix.

Which reader, and why (docs/edge.md says what each takes from a file's header):

    .bin     own, some lines: N-MNIST, N-Caltech101 and gesture samples must be readable on the edge.
    .aedat   own: nothing on the package index reads AEDAT 2.0 rightly (tonic 1.7 refuses every file).
    .dat     own, some lines.
    .raw     own: see docs/decisions/0020-inputs.md.
    .aedat4  the package aedat (a compiled decoder), the extra `events`.
    .npz     numpy's arrays x, y, t and polarity (or p).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from shared.datasets.event_collector import Recording
from shared.datasets.event_type import Events
from shared.datasets.formats.aedat import read_aedat
from shared.datasets.formats.aedat4 import read_aedat4
from shared.datasets.formats.dat import read_dat
from shared.datasets.formats.evt import read_raw
from shared.datasets.formats.nmnist_bin import read_bin
from shared.datasets.formats.npz import read_npz
from shared.errors import SourceError

READERS: Mapping[str, Callable[[Path, int | None], Recording]] = {
    ".bin": read_bin,
    ".aedat": read_aedat,
    ".aedat4": read_aedat4,
    ".dat": read_dat,
    ".npz": read_npz,
    ".raw": read_raw,
}


def read_recording(path: Path, most_bytes: int | None = None) -> Recording:
    """The recording of one camera; the suffix of the file names the format.

    Args:
        path: of the file.
        most_bytes: that its events may take in memory; None for any number.

    Raises:
        SourceError: unknown suffix, file missing or damaged, a number that no event can have, too large, or an optional
            reader is not installed.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SourceError(f"{path}: no reader for {path.suffix or 'no suffix'}: known are {', '.join(READERS)}")
    return reader(path, most_bytes)


def read_events(path: Path) -> Events:
    """The events of `read_recording`, ordered by time (us); errors as there."""
    return read_recording(path).events
