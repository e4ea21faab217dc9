"""Checks every number of an event before it is cast, for all file formats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import SourceError

NUMBERS = "biuf"
"""Kinds of numpy types that are numbers."""

MOST_SIDE = 1 << 13
"""Pixels along a side of a sensor: the largest event cameras have some 4,000. A -1 in 16 bits, 65535, is beyond it."""

MOST_TIME = 1 << 53
"""Microseconds, either way: 285 years, and what a float holds exactly. Nanoseconds since 1970 are beyond it."""

POLARITIES = "polarity is 0/1 or -1/1 (1 is ON)"


def coordinates(values: NDArray[Any], name: str, row: int) -> NDArray[np.int64]:
    """Columns or rows of pixels [n]; `row` is the number of the first value, for people.

    Raises:
        SourceError: one is no whole number below `MOST_SIDE`.
    """
    _check_kind(values, name)
    return _whole(values, name, 0, MOST_SIDE - 1, row, f"pixels are whole numbers in 0..{MOST_SIDE - 1}")


def times(values: NDArray[Any], row: int) -> NDArray[np.int64]:
    """Microseconds [n].

    Raises:
        SourceError: one is no whole number, or further from 0 than `MOST_TIME`.
    """
    _check_kind(values, "t")
    return _whole(values, "t", -MOST_TIME, MOST_TIME, row, "times are whole microseconds")


class Polarities:
    """ON or OFF from 0/1 or -1/1, block by block; the first value that is no 1 decides which form it is."""

    def __init__(self) -> None:
        self.off: int | None = None

    def check(self, values: NDArray[Any], row: int) -> NDArray[np.bool_]:
        """True for ON, [n].

        Raises:
            SourceError: one is neither, or both forms are mixed.
        """
        whole = _whole(values, "polarity", -1, 1, row, POLARITIES)
        off = whole[whole != 1]
        if len(off) and self.off is None:
            self.off = int(off[0])
        if (wrong := off[off != self.off]).size:
            place = int(np.flatnonzero(whole == wrong[0])[0])
            raise SourceError(
                f"polarity is {self.off} in one row and {int(wrong[0])} in row {row + place}: {POLARITIES}"
            )
        return np.asarray(whole == 1)


def _check_kind(values: NDArray[Any], name: str) -> None:
    if values.dtype.kind == "b":
        raise SourceError(f"{name} holds {values.dtype}, which polarity may, no numbers")


def _whole(values: NDArray[Any], name: str, low: int, high: int, row: int, why: str) -> NDArray[np.int64]:
    if values.dtype.kind not in NUMBERS:
        raise SourceError(f"{name} holds {values.dtype}, no numbers")
    if values.dtype.kind == "f" and values.dtype.itemsize < 8:
        # Beyond this a short float skips whole numbers: what it holds was rounded.
        exact = 1 << np.finfo(values.dtype).nmant + 1
        if exact < high:
            low, high = max(low, -exact), exact
            why += f", and {values.dtype} rounds those beyond {exact:,}: give a wider type"
        values = values.astype(np.float64)  # the bounds are beyond a short float's range
    # Comparisons with NaN are false; what is out of range is not cast.
    wrong = ~((values >= low) & (values <= high))
    if values.dtype.kind == "f":
        wrong |= values != np.floor(values)
    if wrong.any():
        place = int(wrong.argmax())
        raise SourceError(f"{name} is {values[place].item()!r} in row {row + place}: {why}")
    return values.astype(np.int64)
