"""`.aedat`: AEDAT 2.0 and 1.0 of jAER. Which bits of an address mean what is up to the camera's chip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.datasets.event_clock import EventClock
from shared.datasets.event_collector import Collector, Recording
from shared.datasets.event_type import Sensor
from shared.datasets.formats.disk import blocks, header_lines, opened, whole_events
from shared.errors import SourceError

Addresses = NDArray[np.int64]

VERSION = re.compile(r"!AER-DAT(\d+\.\d+)")
CHIP = re.compile(r"AEChip:\s*(\S+)", re.IGNORECASE)
END = re.compile(rb"#\s*end of ascii header", re.IGNORECASE)
"""What comes after this line is no header, though it may begin with '#'."""

TIME_BITS = 32
LEAST_SHARE = 0.5
"""Of a file's addresses at least so many must be events of the chip: else it is another chip's."""

EVENTS_1 = np.dtype([("address", ">u2"), ("t", ">i4")])
EVENTS_2 = np.dtype([("address", ">u4"), ("t", ">i4")])


@dataclass(frozen=True)
class Chip:
    """Where a chip's address has what. jAER counts x from the right and y from the bottom: both are mirrored here.

    Attributes:
        sensor: (height, width).
        x, y: (first bit, number of bits).
        polarity: its bit, and which value is ON.
        special: bits that make it something other than an event of a pixel.
    """

    name: str
    sensor: Sensor
    x: tuple[int, int]
    y: tuple[int, int]
    polarity: tuple[int, int]
    special: int

    def is_event(self, address: Addresses) -> NDArray[np.bool_]:
        """Which addresses are events of pixels."""
        return np.asarray((address & self.special) == 0)

    def columns(self, address: Addresses) -> tuple[Addresses, Addresses, Addresses]:
        """x, y and polarity of events, (0, 0) at the top left."""
        (height, width), (bit, on) = self.sensor, self.polarity
        x, y = (address >> first & (1 << count) - 1 for first, count in (self.x, self.y))
        return width - 1 - x, height - 1 - y, (address >> bit & 1) ^ (1 - on)


# Bit 15 of a DVS128 and above are triggers. DAVIS: bit 31 is a picture or a motion sensor, bit 10 an external input.
DVS128 = Chip("DVS128", (128, 128), (1, 7), (8, 7), (0, 0), 0xFFFF8000)
DAVIS240 = Chip("DAVIS240", (180, 240), (12, 10), (22, 9), (11, 1), 1 << 31 | 1 << 10)
DAVIS346 = Chip("DAVIS346", (260, 346), (12, 10), (22, 9), (11, 1), 1 << 31 | 1 << 10)
CHIPS = {r"(^|\.)(e?dvs128|tmpdiff128)": DVS128, r"davis?_?240|sbret[12][01]": DAVIS240, r"davis?_?346": DAVIS346}
"""By what the header calls it."""


def read_aedat(path: Path, most_bytes: int | None = None) -> Recording:
    """AEDAT 2.0 (big-endian 32-bit address and signed 32-bit time in us) and 1.0 (16-bit address), after lines of '#'.

    The line `#!AER-DAT2.0` says the version; without one it is 1.0. The line `# AEChip: ...` says the chip: without one
    it is a DVS128. Special events, pictures and motion sensors are left out.

    Raises:
        SourceError: another version or chip, addresses that are not the chip's, or the data is not whole events.
    """
    with opened(path) as file:
        lines = header_lines(file, b"#", last=END)
        version, chip = _version(lines), _chip(lines)
        kind = EVENTS_2 if version == "2.0" else EVENTS_1
        if kind is EVENTS_1 and chip is not DVS128:
            raise SourceError(f"AEDAT 1.0 of a {chip.name}: it lacks its version, for 16 bits are a DVS128's")
        count = whole_events(file, kind.itemsize, "of data ")
        collector = Collector(EventClock(TIME_BITS), most_bytes=most_bytes)
        kept = 0
        for words in blocks(file, kind):
            address, t = words["address"].astype(np.int64), words["t"].astype(np.int64)
            events = chip.is_event(address)
            kept += int(events.sum())
            x, y, polarity = chip.columns(address[events])
            _check_inside(chip, x, y)
            collector.add(x, y, polarity, t[events])
        if kept < count * LEAST_SHARE and chip is DVS128:
            raise SourceError(
                f"{count - kept:,} of its {count:,} addresses are no events of a {chip.name}: another chip's?"
            )
        recording = collector.recording(chip.sensor)
        if version is None and recording.notes:
            raise SourceError("no AEDAT file: it says no version, and its times are not those of AEDAT 1.0")
        return recording


def _version(lines: list[str]) -> str | None:
    """None where no line says it: that is AEDAT 1.0."""
    found = next((match[1] for line in lines if (match := VERSION.match(line))), None)
    if found not in (None, "1.0", "2.0"):
        raise SourceError(f"AEDAT {found}: only AEDAT 1.0 and 2.0 are read from .aedat (and 4 from .aedat4)")
    return found


def _chip(lines: list[str]) -> Chip:
    names = list(dict.fromkeys(match[1] for line in lines if (match := CHIP.search(line))))
    if not names:
        return DVS128
    if len(names) > 1:
        raise SourceError(f"damaged, its header names the chips {names[0][:80]} and {names[1][:80]}")
    for pattern, chip in CHIPS.items():
        if re.search(rf"({pattern})(?!\d)", names[0], re.IGNORECASE):
            return chip
    raise SourceError(f"recorded by the chip {names[0][:80]}, which is not known: DVS128, DAVIS240 and DAVIS346 are")


def _check_inside(chip: Chip, x: Addresses, y: Addresses) -> None:
    if len(x) and (x.min() < 0 or y.min() < 0):
        width, height = chip.sensor[::-1]
        raise SourceError(f"damaged, or not of a {chip.name}: an address lies outside its {width} x {height} pixels")
