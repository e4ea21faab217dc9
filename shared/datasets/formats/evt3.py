"""EVT 3.0: words of 16 bits, each of which changes what the next ones mean."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from shared.datasets.event_collector import Collector
from shared.datasets.formats.disk import blocks, set_bits

Words = NDArray[np.int64]

WORD = np.dtype("<u2")
ADDR_Y, ADDR_X, BASE_X, VECTOR_12, VECTOR_8, TIME_LOW, TIME_HIGH = 0, 2, 3, 4, 5, 6, 8
"""Types of words, in the highest 4 bits; others (triggers, continuations) are left out."""

COORDINATE, POLARITY = 0x7FF, 0x800


def decode_evt3(file: BinaryIO, collector: Collector) -> None:
    """Events of the rest of a file. What comes before the first word of time and the first row is left out."""
    state: Words = np.zeros(0, np.int64)
    for raw in blocks(file, WORD):
        # The words that a block begins with say again how the one before it ended.
        state = _decode(np.concatenate([state, raw.astype(np.int64)]), collector)


def _decode(words: Words, collector: Collector) -> Words:
    """Hand on the events of these words; return words that give the state at their end."""
    kind, value = words >> 12, words & 0xFFF
    row, high, base = (_last(kind == one) for one in (ADDR_Y, TIME_HIGH, BASE_X))
    time = _times(kind, value, high)
    length = np.where(kind == VECTOR_12, 12, np.where(kind == VECTOR_8, 8, 0))
    end = np.cumsum(length)  # pixels of all vectors up to and with each word
    start = (value[base] & COORDINATE) + end - length - end[base]

    known = (row >= 0) & (high >= 0)
    single = np.flatnonzero(known & (kind == ADDR_X))
    vector = np.flatnonzero(known & (length > 0) & (base >= 0))
    which, bit = set_bits(value[vector] & (1 << length[vector]) - 1, collector.make_room)
    spread = vector[which]
    place = np.concatenate([single, spread])
    x = np.concatenate([value[single] & COORDINATE, start[spread] + bit])
    polarity = np.concatenate([value[single], value[base[spread]]]) & POLARITY
    order = np.argsort(place, kind="stable")
    place = place[order]
    collector.add(x[order], value[row[place]] & COORDINATE, polarity[order] > 0, time[place])

    state = []
    if high[-1] >= 0:
        state += [TIME_HIGH << 12 | int(time[-1]) >> 12 & 0xFFF, TIME_LOW << 12 | int(time[-1]) & 0xFFF]
    if row[-1] >= 0:
        state.append(int(words[row[-1]]))
    if base[-1] >= 0:
        behind = int(start[-1] + length[-1]) & COORDINATE
        state.append(BASE_X << 12 | int(value[base[-1]]) & POLARITY | behind)
    return np.array(state, np.int64)


def _last(is_one: NDArray[np.bool_]) -> Words:
    """For each word the place of the last one so far; -1 where there was none."""
    return np.maximum.accumulate(np.where(is_one, np.arange(len(is_one)), -1))


def _times(kind: Words, value: Words, high: Words) -> Words:
    """The time at each word, in us; `high` is the place of the last high half.

    A new high half begins with a low half of 0, and a repeated one changes nothing. A low half that starts
    again without a new high half has overflowed: some programs write no more high halves.
    """
    new = np.zeros(len(kind), bool)
    highs, lows = np.flatnonzero(kind == TIME_HIGH), np.flatnonzero(kind == TIME_LOW)
    new[highs] = np.diff(value[highs], prepend=-1) != 0
    newest, low = _last(new), _last(kind == TIME_LOW)
    overflows = np.zeros(len(kind), np.int64)
    started_again = np.diff(value[lows]) < 0
    overflows[lows[1:]] = started_again & (newest[lows[1:]] < lows[:-1])
    passed = np.cumsum(overflows)
    return np.asarray((value[high] + passed - passed[newest] << 12) + np.where(low > newest, value[low], 0))
