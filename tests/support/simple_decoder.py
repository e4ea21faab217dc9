"""A second decoder, written from docs/wire-format.md alone: slow, and nothing in it is shared with the real one.

Plain Python on lists of integers, one position after the other. It does not check that bytes are what an encoder
writes; it reads what an encoder wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Frame = list[list[list[int]]]
"""frame[channel][row][column], 0 or 1."""

RANGE, PACKED, SPARSE = 0, 1, 2


def decode(tables: dict[str, Any], shape: Sequence[int], codec: int, data: bytes, before: Sequence[Frame]) -> Frame:
    """A frame from its codec and bytes, the bundle's tables as nested lists, and the sample's frames before it."""
    if codec == RANGE:
        return _range(tables, shape, data, before)
    channels, height, width = shape
    flat = [0] * (channels * height * width)
    if codec == PACKED:
        flat = [data[n // 8] >> (7 - n % 8) & 1 for n in range(len(flat))]
    elif codec == SPARSE:
        for position in _positions(data):
            flat[position] = 1
    else:
        raise NotImplementedError(codec)
    rows = [flat[start : start + width] for start in range(0, len(flat), width)]
    return [rows[start : start + height] for start in range(0, len(rows), height)]


def _positions(data: bytes) -> list[int]:
    out, position, run, shift = [], -1, 0, 0
    for byte in data:
        run += (byte & 127) << shift
        shift += 7
        if byte < 128:
            position += run + 1
            out.append(position)
            run = shift = 0
    return out


def _range(tables: dict[str, Any], shape: Sequence[int], data: bytes, before: Sequence[Frame]) -> Frame:
    channels, height, width = shape
    frame: Frame = [[[0] * width for _ in range(height)] for _ in range(channels)]
    done: set[tuple[int, int, int]] = set()
    bits = _RangeDecoder(data)
    for channel_group in sorted(set(tables["group"])):
        for colour in (0, 1):
            this_pass = [
                (c, y, x)
                for y in range(height)
                for x in range(width)
                for c in range(channels)
                if tables["group"][c] == channel_group and (y + x) % 2 == colour
            ]
            for c, y, x in this_pass:
                level = _level(tables, shape, (c, y, x), colour, frame, done, before)
                level = min(max(level, 0), len(tables["chances"]) - 1)
                frame[c][y][x] = bits.next(tables["chances"][level])
            done.update(this_pass)
    return frame


def _level(
    tables: dict[str, Any],
    shape: Sequence[int],
    place: tuple[int, int, int],
    colour: int,
    frame: Frame,
    done: set[tuple[int, int, int]],
    before: Sequence[Frame],
) -> int:
    channels, height, width = shape
    c, y, x = place
    depth = (len(tables["base"]) + 1).bit_length() - 2
    before = before[max(0, len(before) - depth) :]
    past = 1
    for old in before:
        past = 2 * past + old[c][y][x]
    cell_height = height // len(tables["base"][0][0])
    cell_width = width // len(tables["base"][0][0][0])
    level: int = len(tables["chances"]) // 2 + tables["base"][past - 1][c][y // cell_height][x // cell_width]
    weights = tables["later" if before else "first"]
    reach = len(weights[0][0][0]) // 2
    for other in range(channels):
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                y2, x2 = y + dy, x + dx
                if not (0 <= y2 < height and 0 <= x2 < width):
                    continue
                at = (c, colour, other, dy + reach, dx + reach)
                if (other, y2, x2) in done:
                    level += _weight(weights, at) * frame[other][y2][x2]
                if before:
                    level += _weight(tables["past"], at) * before[-1][other][y2][x2]
    return level


def _weight(weights: Any, at: Sequence[int]) -> int:
    for index in at:
        weights = weights[index]
    return int(weights)


class _RangeDecoder:
    """The number that the bytes spell, against an interval that each spike narrows."""

    def __init__(self, data: bytes) -> None:
        self._bytes = data
        self._position = 0
        self._low = 0
        self._width = 2**64 - 1
        self._number = self._word() * 2**32 + self._word()

    def next(self, chance: int) -> int:
        scale = self._width // 2**24
        border = scale * (2**24 - chance)
        spike = int(self._number - self._low >= border)
        if spike:
            self._low += border
            self._width = scale * chance
        else:
            self._width = border
        if self._width < 2**32:
            self._low *= 2**32
            self._width *= 2**32
            self._number = self._number * 2**32 + self._word()
        return spike

    def _word(self) -> int:
        four = self._bytes[self._position : self._position + 4]
        self._position += 4
        return int.from_bytes(four + bytes(4 - len(four)), "big")
