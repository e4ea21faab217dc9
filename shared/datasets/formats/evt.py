"""`.raw` of Prophesee: EVT 2.0, 2.1 and 3.0, which its cameras record (docs/decisions/0020-inputs.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from shared.datasets.event_clock import EventClock
from shared.datasets.event_collector import Collector, Recording
from shared.datasets.event_type import Sensor
from shared.datasets.formats.dat import sensor_of
from shared.datasets.formats.disk import blocks, bytes_left, header_fields, header_lines, opened, set_bits
from shared.datasets.formats.evt3 import WORD, decode_evt3
from shared.errors import SourceError

CD_OFF, CD_ON, TIME_HIGH = 0, 1, 8
"""Types of words, in the highest 4 bits of EVT 2.0 and 2.1; what else there is (triggers, monitoring) is left out."""

TIME_BITS = {"2.0": 34, "2.1": 34, "3.0": 24}
EVT2_WORD = np.dtype("<u4")
EVT21_WORD = np.dtype(("<u4", 2))
WORDS = {"2.0": EVT2_WORD, "2.1": EVT21_WORD, "3.0": WORD}
END = re.compile(rb"% end\s*$")
GEOMETRY = re.compile(r"(\d+)x(\d+)", re.IGNORECASE)
NAMES = {"EVT2": "2.0", "EVT20": "2.0", "EVT21": "2.1", "EVT3": "3.0", "EVT30": "3.0"}


@dataclass(frozen=True)
class Header:
    """What a file says of itself: its encoding ("2.0", "2.1", "3.0"), its sensor, and which half of a word comes first.

    `high_first` is None where it is not said.
    """

    version: str
    sensor: Sensor | None
    high_first: bool | None


def read_raw(path: Path, most_bytes: int | None = None) -> Recording:
    """Lines starting with '%' that name the encoding (`% evt 3.0`, `% format EVT3;height=720;width=1280`), then words.

    Raises:
        SourceError: another encoding or none, no time in it, or it is too large.
    """
    with opened(path) as file:
        header = _header(file)
        collector = Collector(EventClock(TIME_BITS[header.version]), most_bytes=most_bytes)
        decode: dict[str, Callable[[BinaryIO, Collector], None]] = {
            "2.0": _decode_evt2,
            "2.1": lambda file, collector: _decode_evt21(file, collector, header.high_first),
            "3.0": decode_evt3,
        }
        torn = bytes_left(file) % WORDS[header.version].itemsize
        if bytes_left(file):
            decode[header.version](file, collector)
        recording = collector.recording(header.sensor)
        if not torn:
            return recording
        note = f"its last {torn} bytes are no whole word, and are left out: was it cut off?"
        return replace(recording, notes=(*recording.notes, note))


def _header(file: BinaryIO) -> Header:
    lines = header_lines(file, b"% ", last=END)
    if not lines and not bytes_left(file):
        raise SourceError("it is empty: 0 bytes")
    fields = header_fields(lines)
    form, *options = (part.strip() for part in fields.get("format", "").split(";"))
    said = dict(option.partition("=")[::2] for option in options)
    by_form, by_evt = NAMES.get(form.upper(), form), fields.get("evt", "")
    if by_form and by_evt and by_form != by_evt:
        raise SourceError(f"damaged, its header says format {form[:20]} and evt {by_evt[:20]}")
    version = by_form or by_evt
    if version not in TIME_BITS:
        named = f"encoding {version[:20]} is not known" if version else "its header names no encoding"
        raise SourceError(f"{named}: Prophesee's .raw is read in EVT 2.0, 2.1 and 3.0")
    order = said.get("endianness") or fields.get("endianness")
    if order not in (None, "little", "legacy"):
        raise SourceError(f"its words are {order[:20]}-endian: only little-endian ones are read")
    return Header(version, _sensor(said, fields.get("geometry")), None if order is None else order == "legacy")


def _sensor(said: Mapping[str, str], geometry: str | None) -> Sensor | None:
    """From `format`'s options, or from `geometry`.

    Raises:
        SourceError: they are no sizes, or differ.
    """
    sensor = sensor_of(said.get("width"), said.get("height"))
    if geometry is None:
        return sensor
    if (found := GEOMETRY.fullmatch(geometry)) is None:
        raise SourceError(f"damaged, its header says that the sensor is {geometry[:40]}: replace the file")
    other = sensor_of(*found.groups())
    if sensor not in (None, other):
        raise SourceError(f"damaged, its header says {geometry[:40]} and {said['width']} x {said['height']} pixels")
    return other


def _last_time(high: NDArray[np.int64], is_time: NDArray[np.bool_], before: int) -> NDArray[np.int64]:
    """For each word the last time so far; `before` is that before the first word, -1 where there was none."""
    places = np.maximum.accumulate(np.where(is_time, np.arange(len(high)), -1))
    return np.where(places >= 0, high[places], before)


def _decode_evt2(file: BinaryIO, collector: Collector) -> None:
    """Words of 32 bits: type (4), time (6), x (11), y (11); or type, time beyond those 6 bits (28)."""
    before = -1
    for raw in blocks(file, EVT2_WORD):
        words = raw.astype(np.int64)
        kind = words >> 28
        time = _last_time(words & 0xFFFFFFF, kind == TIME_HIGH, before)
        before = int(time[-1])
        events = (kind <= CD_ON) & (time >= 0)
        words, kind, time = words[events], kind[events], time[events]
        collector.add(words >> 11 & 0x7FF, words & 0x7FF, kind, time << 6 | words >> 22 & 0x3F)


def _decode_evt21(file: BinaryIO, collector: Collector, high_first: bool | None) -> None:
    """Words of 64 bits: those of EVT 2.0 in the high half; in the low one a bit for each of 32 pixels from x on."""
    before = -1
    for halves in blocks(file, EVT21_WORD):
        if high_first is None:
            high_first = _looks_high_first(halves)
        high, pixels = (halves if high_first else halves[:, ::-1]).astype(np.int64).T
        kind = high >> 28
        time = _last_time(high & 0xFFFFFFF, kind == TIME_HIGH, before)
        before = int(time[-1])
        events = (kind <= CD_ON) & (time >= 0)
        high, pixels, kind, time = high[events], pixels[events], kind[events], time[events]
        word, bit = set_bits(pixels, collector.make_room)
        high = high[word]
        collector.add((high >> 11 & 0x7FF) + bit, high & 0x7FF, kind[word], time[word] << 6 | high >> 22 & 0x3F)


def _looks_high_first(halves: NDArray[np.uint32]) -> bool:
    """A word of time has nothing in its low half: in which order are there more of them?"""
    first, second = halves.T
    times_first, times_second = (
        int(((half >> 28 == TIME_HIGH) & (other == 0)).sum()) for half, other in ((first, second), (second, first))
    )
    return times_first >= times_second
