"""`.dat` of Prophesee: change events (CD) of 8 bytes after a text header."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.datasets.event_clock import EventClock
from shared.datasets.event_collector import Collector, Recording
from shared.datasets.event_numbers import MOST_SIDE
from shared.datasets.event_type import Sensor
from shared.datasets.formats.disk import blocks, bytes_left, header_fields, header_lines, opened, whole_events
from shared.errors import SourceError

TIME_BITS = 32
WORDS = np.dtype([("t", "<u4"), ("word", "<u4")])
CD_TYPES = (0, 12)
"""Event types that are change events: of the first cameras, and of all others."""

OTHER_TYPES = {14: "external triggers"}
BITS = {"1": (9, 8), "2": (14, 14)}
"""By version: how many bits x has, and y above it; the next bit is the polarity."""


def read_dat(path: Path, most_bytes: int | None = None) -> Recording:
    """Lines starting with '%', one byte event type, one byte event size, then events.

    An event is a little-endian 32-bit time in us and 32 bits of x, y and polarity, laid out as the header's version
    says. Width and height, where the header has them, are the sensor's.

    Raises:
        SourceError: no version or another one, no change events, events of another size, or not whole ones.
    """
    with opened(path) as file:
        lines = header_lines(file, b"%")
        if not lines and not bytes_left(file):
            raise SourceError("it is empty: 0 bytes")
        if not lines:
            raise SourceError("damaged or not a Prophesee .dat file: it has no header")
        fields = header_fields(lines)
        x_bits, y_bits = _layout(fields)
        kind = file.read(2)
        if len(kind) < 2 or kind[1] != WORDS.itemsize:
            raise SourceError("damaged or not a Prophesee .dat file of 8-byte events: replace the file")
        if kind[0] not in CD_TYPES:
            what = OTHER_TYPES.get(kind[0], "other things")
            raise SourceError(f"it holds {what} (event type {kind[0]}), no change events: export it with CD events")
        sensor = sensor_of(fields.get("width"), fields.get("height"))
        collector = Collector(EventClock(TIME_BITS), whole_events(file, WORDS.itemsize, "of data "), most_bytes)
        for words in blocks(file, WORDS):
            word, t = words["word"].astype(np.int64), words["t"].astype(np.int64)
            x, y = word & (1 << x_bits) - 1, word >> x_bits & (1 << y_bits) - 1
            collector.add(x, y, word >> (x_bits + y_bits) & 1, t)
        return collector.recording(sensor)


def sensor_of(width: str | None, height: str | None) -> Sensor | None:
    """(height, width) from a header's two numbers; None where it has neither.

    Raises:
        SourceError: it has but one, or they are no sizes.
    """
    if width is None and height is None:
        return None
    sizes = [int(text) for text in (height, width) if text and text.isdecimal() and len(text) < 6]
    if len(sizes) < 2 or min(sizes) < 1 or max(sizes) > MOST_SIDE:
        raise SourceError(f"damaged, its header says that the sensor is {width} x {height} pixels: replace the file")
    return sizes[0], sizes[1]


def _layout(fields: dict[str, str]) -> tuple[int, int]:
    version = fields.get("version", "")
    if (number := version.removesuffix(".0")) not in BITS:
        said = f"version {version[:20]} is not known" if version else "its header says no version"
        raise SourceError(f"{said}: Prophesee's .dat is read in versions 1 and 2")
    return BITS[number]
