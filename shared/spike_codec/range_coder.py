"""Spikes and their probabilities to bytes and back: a range coder with 64 bits of state, 32-bit words, 24-bit chances.

Two coders write the same bytes. `FastCoder` uses constriction, in Rust. `PlainCoder` is in Python: it defines the
bytes, and runs where constriction has no wheel (Linux on arm64, for example). All arithmetic is on integers.
constriction takes its chances as floating-point numbers. Each number passed maps to the middle of the integer wanted,
half a unit from either neighbour; roundings are 10^8 times smaller and cannot matter. `make_coder` checks every number
against constriction's own interval.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import CodecError

log = logging.getLogger(__name__)

PRECISION = 24
WHOLE = 1 << PRECISION
"""Chances are integers; this is probability 1."""

WORD = 32
FULL = (1 << 64) - 1
NARROW = 1 << WORD
"""A width below this is shifted up by one word."""

Bits = NDArray[np.uint8]
"""[n], zeros and ones."""

Levels = NDArray[np.intp]
"""[m], an index into the table of chances for each position; below 0 means 0, above the last means the last."""


class Reader(Protocol):
    """Decodes the bytes of one frame piece by piece. Beyond their end it reads zeros."""

    def read(self, levels: Levels) -> NDArray[np.integer[Any]]:
        """The spikes [m] of the next positions, from their levels [m].

        Raises:
            CodecError: no encoder writes these bytes.
        """

    def canonical_bytes(self) -> bytes:
        """The bytes that an encoder writes for all spikes read so far."""


class Coder(Protocol):
    """Encodes and decodes with one table of chances."""

    def encode(self, levels: Levels, bits: Bits) -> bytes:
        """Encode spikes [n] at their levels [n] in the shortest bytes: none for no spikes, and no zeros at the end."""

    def reader(self, data: bytes) -> Reader:
        """Decode `data`."""


def make_coder(chances: NDArray[np.uint32]) -> Coder:
    """The fastest coder that is installed and writes the right bytes.

    Args:
        chances: [L], how likely a spike is at each level, in 1/2^24; 1 < chance < 2^24.
    """
    try:
        return FastCoder(chances)
    except ImportError:
        pass
    except ValueError:
        log.warning("this version of constriction codes differently: spikes are coded in Python, which is slower")
    return PlainCoder(chances)


class PlainCoder:
    """The range coder in Python."""

    def __init__(self, chances: NDArray[np.uint32]) -> None:
        self._silent = WHOLE - chances.astype(np.int64)

    def encode(self, levels: Levels, bits: Bits) -> bytes:
        low, width, words = 0, FULL, 0
        for silent, spike in zip(self._silent.take(levels, mode="clip").tolist(), bits.tolist(), strict=True):
            scale = width >> PRECISION
            if spike:
                low += scale * silent
                width = scale * (WHOLE - silent)
            else:
                width = scale * silent
            if width < NARROW:
                low, width, words = low << WORD, width << WORD, words + 1
        return shortest(low, width, words * WORD + 64)

    def reader(self, data: bytes) -> Reader:
        return _PlainReader(self._silent, data)


class _PlainReader:
    def __init__(self, silent: NDArray[np.int64], data: bytes) -> None:
        self._silent = silent
        self._data = data
        # How far the number in the bytes lies above the lower end of the interval; the interval's width; bytes read.
        self._above, self._width, self._at = int.from_bytes(data[:8].ljust(8, b"\0"), "big"), FULL, 8

    def read(self, levels: Levels) -> Bits:
        above, width, at = self._above, self._width, self._at
        bits = bytearray()
        for silent in self._silent.take(levels, mode="clip").tolist():
            scale = width >> PRECISION
            border = scale * silent
            if above < border:
                width = border
                bits.append(0)
            elif above < scale << PRECISION:
                above -= border
                width = scale * (WHOLE - silent)
                bits.append(1)
            else:
                raise CodecError("a range-coded frame leaves the coder's range")
            if width < NARROW:
                word = int.from_bytes(self._data[at : at + 4].ljust(4, b"\0"), "big")
                above, width, at = above << WORD | word, width << WORD, at + 4
        self._above, self._width, self._at = above, width, at
        return np.frombuffer(bits, np.uint8)

    def canonical_bytes(self) -> bytes:
        number = int.from_bytes(self._data[: self._at].ljust(self._at, b"\0"), "big")
        return shortest(number - self._above, self._width, 8 * self._at)


class FastCoder:
    """The range coder of constriction.

    Raises:
        ImportError: constriction is not installed.
        ValueError: its intervals differ from those of `PlainCoder`.
    """

    def __init__(self, chances: NDArray[np.uint32]) -> None:
        import constriction  # noqa: PLC0415  no wheel on every machine

        self._encoder: Any = constriction.stream.queue.RangeEncoder
        self._decoder: Any = constriction.stream.queue.RangeDecoder
        self._model: Any = constriction.stream.model.Categorical(perfect=False)
        # The model scales its input to 2^24 - 2, cuts off the fraction, and adds 1 for each symbol.
        silent = (WHOLE - chances.astype(np.float64) - 0.5) / (WHOLE - 2)
        self._rows = np.stack([silent, 1.0 - silent], axis=1)
        for row, chance in zip(self._rows, chances.tolist(), strict=True):
            encoder = self._encoder()
            encoder.encode(np.ones(1, np.int32), self._model, row[np.newaxis])
            scale = FULL >> PRECISION
            width = scale * chance
            grown = int(width < NARROW) * WORD
            low = (scale * (WHOLE - chance)) << grown & FULL
            if encoder.pos()[1] != (low, width << grown):
                raise ValueError(f"constriction codes a chance of {chance} / 2^24 differently")

    def encode(self, levels: Levels, bits: Bits) -> bytes:
        encoder = self._encoder()
        encoder.encode(bits.astype(np.int32), self._model, self._rows.take(levels, axis=0, mode="clip"))
        return _finished(encoder)

    def reader(self, data: bytes) -> Reader:
        words = np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32)
        return _FastReader(self._rows, self._model, self._decoder(words), self._encoder())


class _FastReader:
    """Encodes what it reads once more, because the decoder does not say which interval it is in."""

    def __init__(self, rows: NDArray[np.float64], model: Any, decoder: Any, encoder: Any) -> None:
        self._rows = rows
        self._model = model
        self._decoder = decoder
        self._encoder = encoder

    def read(self, levels: Levels) -> NDArray[np.integer[Any]]:
        rows = self._rows.take(levels, axis=0, mode="clip")
        try:
            bits: NDArray[np.int32] = self._decoder.decode(self._model, rows)
        except (AssertionError, ValueError):
            raise CodecError("a range-coded frame leaves the coder's range") from None
        self._encoder.encode(bits, self._model, rows)
        return bits

    def canonical_bytes(self) -> bytes:
        return _finished(self._encoder)


def _finished(encoder: Any) -> bytes:
    """The shortest bytes for what constriction has encoded."""
    words, (low64, width) = encoder.pos()
    # constriction ends on whole words, up to 8 bytes too many. Its number lies less than 2^64 above the interval's
    # lower end, and it reports the last 64 bits of that end. So the end can be computed, and from it shorter bytes.
    sealed = encoder.get_compressed().astype(">u4").tobytes()
    size = words * WORD + 64
    point = int.from_bytes(sealed, "big") << (size - 8 * len(sealed))
    return shortest(point - ((point - low64) & FULL), width, size)


def shortest(low: int, width: int, size: int) -> bytes:
    """The shortest bytes that, followed by zeros, are a number in [low, low + width); the smallest such number.

    Args:
        low: the interval's lower end.
        width: of the interval, which does not leave [0, 2^size).
        size: bits of the numbers, a multiple of 8.
    """
    unit = -(-width.bit_length() // 8) * 8  # 2^unit is at least as wide: at most one multiple of it lies inside
    number = -(-low >> unit)
    if number << unit >= low + width:
        unit -= 8
        number = -(-low >> unit)
    return number.to_bytes((size - unit) // 8, "big").rstrip(b"\0")
