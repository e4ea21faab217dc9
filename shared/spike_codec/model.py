"""How likely each spike of a frame is, given what both sides know when it is coded.

A position's level is a sum of integers: one for its place and its own past, one for each spike around it in the frame
before, and one for each spike around it in this frame that is coded already. To know those, a frame is coded in passes:
the channels of one group at the positions of one colour of a checkerboard. Within a pass nothing depends on anything
else, so each is one matrix product. It is computed in float32, on integers small enough that every sum is exact in
whatever order a machine adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from shared.network_spec import Shape
from shared.spike_codec.range_coder import Bits, Levels, Reader
from shared.spike_codec.tables import Int8, ModelTables

Floats = NDArray[np.float32]
"""Of integers."""

Past = NDArray[np.uint8]
"""[C, H, W], what came before of each neuron: its spikes as binary digits, the latest lowest, behind a leading 1."""


@dataclass(frozen=True, eq=False)
class _Pass:
    """Consecutive positions in coding order: S places, and at each the g channels of a group.

    `taps` [S, t] are the numbers of the spikes that count at each place, and `weights` [t, g] what they add; t may
    be 0.
    """

    span: slice
    taps: NDArray[np.intp]
    weights: Floats


class SpikeModel:
    """The model of one bundle's frames."""

    def __init__(self, tables: ModelTables, shape: Shape) -> None:
        _, height, width = shape
        self._count = prod(shape)
        numbers = np.arange(self._count).reshape(shape)
        colours = np.add.outer(np.arange(height), np.arange(width)) % 2
        layout = [
            (group, colour, numbers[tables.group == group][:, colours == colour].T)
            for group in np.unique(tables.group).tolist()
            for colour in (0, 1)
        ]
        self.order: NDArray[np.intp] = np.concatenate([places.ravel() for _, _, places in layout])
        """[n], the numbers of the positions (in C order of the frame) in the order in which they are coded."""
        cells = tables.base.repeat(height // tables.base.shape[2], 2).repeat(width // tables.base.shape[3], 3)
        levels = cells.reshape(len(cells), self._count)[:, self.order].astype(np.float32) + len(tables.chances) // 2
        self._base: Floats = levels.ravel()
        # The row for a past of 1, no spikes yet, is the first.
        self._row: NDArray[np.intp] = np.arange(self._count) - self._count
        now, before = _neighbours(tables, shape, self.order)
        self._first = self._passes(tables, layout, now, None, tables.first)
        self._later = self._passes(tables, layout, now, before, tables.later)
        self._back = np.argsort(self.order)
        pasts = np.arange(2 ** (tables.depth + 1))
        longer = (pasts[:, np.newaxis] << 1 | np.arange(2)).ravel()
        forget = 2**tables.depth
        self._longer: NDArray[np.uint8] = np.where(longer < 2 * forget, longer, longer & (forget - 1) | forget).astype(
            np.uint8
        )

    def in_order(self, spikes: Bits) -> Bits:
        """A frame [C, H, W] in coding order, [n]."""
        return spikes.ravel().take(self.order)

    def in_place(self, bits: Bits) -> Bits:
        """The way back: a frame [n] in C order."""
        return bits.take(self._back)

    def after(self, past: Past, spikes: Bits) -> Past:
        """The past that the frame after `spikes` has."""
        return self._longer.take(past << 1 | spikes)

    def levels(self, past: Past, bits: Bits) -> Levels:
        """The levels of a frame that is known, `bits` [n] in coding order."""
        level, spikes, passes = self._begin(past)
        spikes[: self._count] = bits
        # The taps of a pass are those of earlier passes: that the others are known here too changes nothing.
        for each in passes:
            if each.taps.size:
                level[each.span] += (spikes.take(each.taps, mode="clip") @ each.weights).ravel()
        return level.astype(np.intp)

    def decode(self, past: Past, read: Reader) -> tuple[Bits, Levels]:
        """Read a frame pass by pass: its spikes [n] and their levels, in coding order."""
        level, spikes, passes = self._begin(past)
        bits = np.empty(self._count, np.uint8)
        for each in passes:
            if each.taps.size:
                level[each.span] += (spikes.take(each.taps, mode="clip") @ each.weights).ravel()
            found = read(level[each.span].astype(np.intp))
            bits[each.span] = found
            spikes[each.span] = found
        return bits, level.astype(np.intp)

    def _begin(self, past: Past) -> tuple[Floats, Floats, list[_Pass]]:
        """What is known before the first pass: levels [n], the spikes that taps point to, and the passes."""
        count = self._count
        before = past.ravel().take(self.order)
        level = self._base.take(before.astype(np.intp) * count + self._row)
        # This frame, the one before, and a silent spike for what lies outside.
        spikes = np.zeros(2 * count + 1, np.float32)
        if before[0] == 1:
            return level, spikes, self._first
        spikes[count:-1] = before & 1
        return level, spikes, self._later

    def _passes(
        self,
        tables: ModelTables,
        layout: list[tuple[int, int, NDArray[np.intp]]],
        now: NDArray[np.intp],
        before: NDArray[np.intp] | None,
        weights: Int8,
    ) -> list[_Pass]:
        size = weights.shape[-1]
        offsets = np.add.outer(np.arange(size), np.arange(size)) - (size - 1)
        passes = []
        start = 0
        for group, colour, places in layout:
            span = slice(start, start + places.size)
            start = span.stop
            if not places.size:
                continue
            ours = tables.group == group
            earlier = (tables.group < group)[:, np.newaxis, np.newaxis] | (
                ours[:, np.newaxis, np.newaxis] & ((offsets + colour) % 2 < colour)
            )
            added = weights[ours, colour]
            used = earlier & added.any(axis=0)
            site = places[:, 0] % len(now)
            taps, matrix = now[site][:, used], added[:, used]
            if before is not None:
                older = tables.past[ours, colour]
                counts = older.any(axis=0)
                taps = np.concatenate([taps, before[site][:, counts]], axis=1)
                matrix = np.concatenate([matrix, older[:, counts]], axis=1)
            passes.append(_Pass(span, np.ascontiguousarray(taps), matrix.T.astype(np.float32)))
        return passes


def _neighbours(
    tables: ModelTables, shape: Shape, order: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the taps find the spikes around each place, of this frame and of the one before: [H W, C', K, K] twice."""
    count = prod(shape)
    size = tables.first.shape[-1]
    reach = size // 2
    rank = np.empty(count, np.intp)
    rank[order] = np.arange(count)
    margin = ((0, 0), (reach, reach), (reach, reach))
    found = []
    for numbers in (rank, rank + count):
        padded = np.pad(numbers.reshape(shape), margin, constant_values=2 * count)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
        found.append(windows.transpose(1, 2, 0, 3, 4).reshape(shape[1] * shape[2], shape[0], size, size))
    return found[0], found[1]
