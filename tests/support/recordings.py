"""Event recordings written as files, for the readers to read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from shared.datasets.event_type import Events
from shared.datasets.formats.aedat import DVS128, Chip
from shared.datasets.formats.nmnist_bin import OVERFLOW_ROW

MASK_32 = (1 << 32) - 1
Version = Literal["2.0", "2.1", "2.1-legacy", "3.0"]


def write_bin(path: Path, events: Events) -> None:
    """Write events as `read_bin` reads them: x below 256, y below 240, t from 0 to 2^23 - 1 us."""
    x, y, t = (events[name].astype(np.int64) for name in ("x", "y", "t"))
    assert not len(events) or (x.max() < 256 and y.max() < OVERFLOW_ROW and t.min() >= 0 and t.max() < 1 << 23)
    high = events["polarity"].astype(np.int64) << 7 | t >> 16
    path.write_bytes(np.stack([x, y, high, t >> 8 & 0xFF, t & 0xFF], axis=1).astype(np.uint8).tobytes())


def write_dat(
    path: Path, events: Events, *, version: int = 2, kind: int = 12, header: str = "", clock: int = 0
) -> None:
    """Write a Prophesee .dat file; `clock` is added to its times, which keep 32 bits."""
    x, y, polarity, t = _columns(events)
    word = x | y << 14 | polarity << 28 if version == 2 else x | y << 9 | polarity << 17
    body = np.stack([t + clock & MASK_32, word], axis=1).astype("<u4").tobytes()
    lines = f"% Data file containing CD events.\n% Version {version}\n{header}"
    path.write_bytes(lines.encode() + bytes([kind, 8]) + body)


def write_aedat(
    path: Path, events: Events, *, chip: Chip = DVS128, header: str | None = None, clock: int = 0, version: int = 2
) -> None:
    """Write an AEDAT file as jAER does; `clock` is added to its times, which keep 32 bits."""
    x, y, polarity, t = _columns(events)
    height, width = chip.sensor
    bit, on = chip.polarity
    address = (width - 1 - x) << chip.x[0] | (height - 1 - y) << chip.y[0] | (polarity ^ (1 - on)) << bit
    words = np.empty(len(t), [("address", ">u4" if version == 2 else ">u2"), ("t", ">u4")])
    words["address"], words["t"] = address, t + clock & MASK_32
    if header is None:
        header = f"#!AER-DAT2.0\r\n# AEChip: ch.unizh.ini.jaer.chip.retina.{chip.name}\r\n# End\r\n"
    path.write_bytes(header.encode() + words.tobytes())


def write_raw(path: Path, events: Events, version: Version, header: str = "", *, clock: int = 0) -> None:
    """Write a Prophesee .raw file, in order of time, with a word of time before every event."""
    encode = {"2.0": _evt2, "2.1": _evt21, "2.1-legacy": _evt21, "3.0": _evt3}[version]
    words = encode(*_columns(events), clock)
    if version == "2.1":  # the whole word begins with its low half
        words = words.reshape(-1, 2)[:, ::-1]
    lines = header or f"% evt {version.removesuffix('-legacy')}\n% end\n"
    path.write_bytes(lines.encode() + words.tobytes())


def _columns(events: Events) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x, y, polarity, t = (events[name].astype(np.int64) for name in ("x", "y", "polarity", "t"))
    return x, y, polarity, t


def _evt2(x: np.ndarray, y: np.ndarray, polarity: np.ndarray, t: np.ndarray, clock: int) -> np.ndarray:
    t = t + clock & (1 << 34) - 1
    return np.stack([8 << 28 | t >> 6, polarity << 28 | (t & 63) << 22 | x << 11 | y], axis=1).astype("<u4").ravel()


def _evt21(x: np.ndarray, y: np.ndarray, polarity: np.ndarray, t: np.ndarray, clock: int) -> np.ndarray:
    """One pixel a word, at bit 3 where there is room before it."""
    t = t + clock & (1 << 34) - 1
    bit = np.minimum(x, 3)
    nothing = np.zeros_like(x)
    event = polarity << 28 | (t & 63) << 22 | (x - bit) << 11 | y
    return np.stack([8 << 28 | t >> 6, nothing, event, 1 << bit], axis=1).astype("<u4").ravel()


def _evt3(x: np.ndarray, y: np.ndarray, polarity: np.ndarray, t: np.ndarray, clock: int) -> np.ndarray:
    """Single pixels, and vectors of 12 and 8 with one pixel in each, in turn."""
    words: list[int] = []
    for number, (column, row, on, time) in enumerate(zip(x, y, polarity, t + clock & (1 << 24) - 1, strict=True)):
        words += [8 << 12 | time >> 12, 6 << 12 | time & 0xFFF, row]
        if number % 3 == 0 or column < 12:
            words.append(2 << 12 | on << 11 | column)
        else:  # the pixel lies in the second vector
            words += (
                [3 << 12 | on << 11 | (column - 12), 4 << 12, 5 << 12 | 1]
                if number % 3 == 1
                else [3 << 12 | on << 11 | (column - 8), 5 << 12, 4 << 12 | 1]
            )
    return np.array(words, "<u2")
