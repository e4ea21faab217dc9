"""Recordings of event cameras from disk: `read_events(path)` chooses the reader by the file's suffix.

Which reader, and why (docs/datasets.md repeats it for users). tonic 1.7 is the reader where
it reads the file; it and what it brings fill some 500 MB, so it is the extra `events` and the edge does without it.

    .bin     own, 10 lines: N-MNIST, N-Caltech101 and gesture samples must be readable on the edge. tonic's
             `read_mnist_file` returns the same events (tested where tonic is installed).
    .aedat   own: tonic's `read_dvs_128` unpacks two values from a header reader that returns three, so it refuses
             every AEDAT 2.0 file; it also leaves out the mirroring, and takes OFF for ON.
    .dat     own: tonic 1.7 has no reader of Prophesee's format.
    .aedat4  tonic's `read_aedat4`, which needs the package `aedat` (a compiled decoder) that tonic does not bring.
    .npz     numpy's: arrays x, y, t and polarity (or p).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.lib.format import read_array
from numpy.typing import NDArray

from shared.datasets.events import Events, make_events
from shared.errors import SourceError

OVERFLOW_ROW = 240
OVERFLOW_STEP = 1 << 13
DVS128 = 128
NPY = ".npy"
"""What the files in an .npz file end in."""
EVENT_ARRAYS = frozenset({"x", "y", "t", "polarity", "p"})


def read_bin(path: Path) -> Events:
    """40 bits an event, big-endian: x (8), y (8), polarity (1, set is ON), t in us (23). A sensor of up to 256 x 240.

    Row 240 is no event: it says that the camera's clock overflowed, and moves all later times on by 2^13 us.

    Raises:
        SourceError: the file is empty or its length is not a multiple of 5 bytes.
    """
    raw = _read_bytes(path)
    if not raw or len(raw) % 5:
        raise SourceError(f"{path}: damaged, {len(raw)} bytes is not a number of 5-byte events: replace the file")
    fields = np.frombuffer(raw, np.uint8).reshape(-1, 5).astype(np.int64)
    x, y, high = fields[:, 0], fields[:, 1], fields[:, 2]
    overflow = y == OVERFLOW_ROW
    t = ((high & 0x7F) << 16 | fields[:, 3] << 8 | fields[:, 4]) + OVERFLOW_STEP * np.cumsum(overflow)
    kept = ~overflow
    return make_events(x[kept], y[kept], high[kept] >> 7, t[kept])


def read_aedat2(path: Path) -> Events:
    """AEDAT 2.0 of a DVS128 (128 x 128): lines starting with '#', then big-endian 32-bit address and 32-bit time in us.

    Address: bit 0 polarity (0 is ON), bits 1-7 x, bits 8-14 y; the camera counts x from the right and y from the
    bottom, so both are mirrored here: the picture stands upright with (0, 0) at the top left. Addresses with a bit
    above 14 set (external triggers, special events) are left out.

    Raises:
        SourceError: another version of AEDAT, or the data is not whole 8-byte events.
    """
    raw = _read_bytes(path)
    if not raw.startswith((b"#!AER-DAT2", b"#")):
        raise SourceError(f"{path}: not an AEDAT 2.0 file, it does not start with '#!AER-DAT2.0'")
    if raw.startswith(b"#!AER-DAT") and not raw.startswith(b"#!AER-DAT2"):
        raise SourceError(f"{path}: {raw[2:12].decode('latin-1').strip()}, only AEDAT 2.0 has the suffix .aedat here")
    body = memoryview(raw)[_skip_lines(raw, b"#") :]
    if not len(body) or len(body) % 8:
        raise SourceError(f"{path}: damaged, {len(body)} bytes of data is not a number of 8-byte events: replace it")
    words = np.frombuffer(body, ">u4").reshape(-1, 2).astype(np.int64)
    words = words[words[:, 0] >> 15 == 0]
    address, t = words[:, 0], words[:, 1]
    x, y = DVS128 - 1 - (address >> 1 & 0x7F), DVS128 - 1 - (address >> 8 & 0x7F)
    return make_events(x, y, address & 1 == 0, t)


def read_dat(path: Path) -> Events:
    """Prophesee .dat version 1 or 2: lines starting with '%', one byte event type, one byte event size (8), then
    little-endian 32-bit time in us and 32 bits of x (14), y (14), polarity (4, version 1 and 2 alike).

    Raises:
        SourceError: events of another size, or not whole ones.
    """
    raw = _read_bytes(path)
    start = _skip_lines(raw, b"%")
    body = memoryview(raw)[start + 2 :]
    if len(raw) < start + 2 or raw[start + 1] != 8 or len(body) % 8:
        raise SourceError(f"{path}: damaged or not a Prophesee .dat file of 8-byte events: replace the file")
    words = np.frombuffer(body, "<u4").reshape(-1, 2).astype(np.int64)
    return make_events(words[:, 1] & 0x3FFF, words[:, 1] >> 14 & 0x3FFF, words[:, 1] >> 28 & 1, words[:, 0])


def read_aedat4(path: Path) -> Events:
    """AEDAT4 through tonic and aedat; times count from the first event, since the file has the time of day.

    Raises:
        SourceError: tonic or aedat is not installed, or the file has no readable events.
    """
    try:
        import_module("aedat")  # tonic imports it late; ask for it before anything is read
        tonic_io = import_module("tonic.io")
    except ImportError as error:
        raise SourceError(
            f"{path}: AEDAT4 needs tonic and aedat ({error.name} is missing): "
            "in a checkout, pip install '.[events]' aedat"
        ) from None
    _read_bytes(path, most=1)
    try:
        found = tonic_io.read_aedat4(str(path))
    except Exception as error:  # the decoder raises bare Exception, and its own kinds, for damaged files
        raise SourceError(f"{path}: damaged or not an AEDAT4 file with events ({error}): replace the file") from None
    t = found["t"].astype(np.int64)
    return make_events(found["x"], found["y"], found["on"], t - t[0] if len(t) else t)


def read_npz(path: Path) -> Events:
    """Arrays `x`, `y`, `t` (us) and `polarity` or `p` (1 is ON), all [n].

    Raises:
        SourceError: not an npz file, damaged, an array is missing, or their lengths differ.
    """
    return events_among(read_arrays(path), path)


def events_among(arrays: Mapping[str, NDArray[Any]], path: Path) -> Events:
    """The events of an .npz file's arrays, see `read_npz`; `path` is for people.

    Raises:
        SourceError: an array is missing, or their lengths differ.
    """
    names = ("x", "y", "polarity" if "polarity" in arrays else "p", "t")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise SourceError(f"{path}: not an npz file of events with x, y, t and polarity (no {', '.join(missing)})")
    try:
        return make_events(*(arrays[name] for name in names))
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, by name; of one with events (an `x`) theirs alone, whatever stands beside them.

    Raises:
        SourceError: not an npz file, or damaged.
    """
    _read_bytes(path, most=1)
    try:
        # Not np.load: it reads an array to its end, and no further, so that a checksum is not always looked at.
        with ZipFile(path) as stored:
            names = [name.removesuffix(NPY) for name in stored.namelist() if name.endswith(NPY)]
            if "x" in names:
                names = [name for name in names if name in EVENT_ARRAYS]
            files = {name: BytesIO(stored.read(name + NPY)) for name in names}
        return {name: read_array(file, allow_pickle=False) for name, file in files.items()}
    # A damaged file makes zipfile, its decompressors and numpy raise nearly anything: BadZipFile, zlib.error...
    except Exception as error:
        raise SourceError(f"{path}: damaged or not an npz file ({error}): replace the file") from None


READERS: Mapping[str, Callable[[Path], Events]] = {
    ".bin": read_bin,
    ".aedat": read_aedat2,
    ".aedat4": read_aedat4,
    ".dat": read_dat,
    ".npz": read_npz,
}


def read_events(path: Path) -> Events:
    """All events of a recording, ordered by time (us); the suffix of the file names the format.

    Raises:
        SourceError: unknown suffix, file missing or damaged, or an optional reader is not installed.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SourceError(f"{path}: no reader for {path.suffix or 'no suffix'}: known are {', '.join(READERS)}")
    return reader(path)


def _read_bytes(path: Path, most: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise SourceError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _skip_lines(raw: bytes, mark: bytes) -> int:
    """Index of the first byte after the leading lines that start with `mark`."""
    start = 0
    while raw.startswith(mark, start):
        end = raw.find(b"\n", start)
        if end < 0:
            return len(raw)
        start = end + 1
    return start
