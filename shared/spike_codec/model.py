"""How likely each spike of a frame is, given what both sides know when it is coded.

A position's level is a sum of integers: one for its place and its own past, one for each spike around it in the frame
before, and one for each spike around it in this frame that is coded already. To know those, a frame is coded in passes:
the channels of one group at the positions of one colour of a checkerboard. Within a pass nothing depends on anything
else, so each is one matrix product. It is computed in float32, on integers small enough that every sum is exact in
whatever order a machine adds.

An encoder knows all spikes, so its passes are one product; a decoder takes them in turn, each for many samples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.network_spec import Shape
from shared.spike_codec.range_coder import Bits, Levels
from shared.spike_codec.tables import Int8, ModelTables

Floats = NDArray[np.float32]
"""Of integers."""

Past = NDArray[np.uint8]
"""[C, H, W], what came before of each neuron: its spikes as binary digits, the latest lowest, behind a leading 1."""

ReadPass = Callable[[Levels], NDArray[np.integer[Any]]]
"""The spikes [B, m] of B samples at the next m positions, from their levels [B, m]."""


@dataclass(frozen=True, eq=False)
class _Pass:
    """Consecutive positions in coding order: S places, and at each the g channels of a group.

    `taps` [t, S] are the numbers of the spikes that count at each place, and `weights` [t, g] what they add; t may
    be 0.
    """

    span: slice
    taps: NDArray[np.intp]
    weights: Floats


@dataclass(frozen=True, eq=False)
class _Passes:
    """The passes of a sample's first frame, or of a later one: in turn, and all in one product.

    For that one, `taps` [P, t, S] and `weights` [P, t, g] are filled up to the largest pass with silence, and
    `found` [n] says where in the product [P, S, g] each position is.
    """

    each: Sequence[_Pass]
    taps: NDArray[np.intp]
    weights: Floats
    found: NDArray[np.intp]


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
        # A row for each position; its first is for a past of 1, no spikes yet.
        self._base: Floats = levels.T.ravel()
        self._row: NDArray[np.intp] = np.arange(self._count)[:, np.newaxis] * len(levels) - 1
        self._start: Floats = np.ascontiguousarray(levels[0])[:, np.newaxis]
        self._start.flags.writeable = False
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
        """The way back: frames [..., n] in C order."""
        return bits.take(self._back, axis=-1)

    def after(self, past: Past, spikes: Bits) -> Past:
        """The past that the frame after `spikes` has."""
        return self._longer.take(past << 1 | spikes)

    @staticmethod
    def is_first(past: Past) -> bool:
        """Whether it is the past of a sample's first frame, to which other weights belong."""
        return bool(past.item(0) == 1)

    def levels(self, past: Past, bits: Bits) -> Levels:
        """The levels [n] of a frame that is known, `bits` [n] in coding order."""
        known, spikes, passes = self._begin(past.reshape(-1, 1))
        spikes[: self._count, 0] = bits
        # The taps of a pass are those of earlier passes: that the others are known here too changes nothing.
        added = spikes.ravel().take(passes.taps, mode="clip").swapaxes(1, 2) @ passes.weights
        return (known.ravel() + added.ravel().take(passes.found)).astype(np.intp)

    def decode(self, past: Past, read: ReadPass) -> Bits:
        """Read a frame pass by pass: its spikes [n] in coding order; `read` gets no axis of samples."""
        known, ours, passes = self._begin(past.reshape(-1, 1))
        level, spikes = known.ravel(), ours.ravel()
        bits = np.empty(self._count, np.uint8)
        for each in passes.each:
            here = level[each.span]
            if each.taps.size:
                here = here + (spikes.take(each.taps, mode="clip").T @ each.weights).ravel()
            found = read(here.astype(np.intp))
            bits[each.span] = found
            spikes[each.span] = found
        return bits

    def decode_batch(self, pasts: Sequence[Past], read: ReadPass) -> Bits:
        """The spikes [B, n] of B samples in step, whose frames are all first ones, or none is."""
        batch = len(pasts)
        # Samples are the last axis: what is looked up for one is looked up for all, and lies side by side.
        known, spikes, passes = self._begin(np.array(pasts).reshape(batch, -1).T)
        bits = np.empty((batch, self._count), np.uint8)
        for each in passes.each:
            level = known[each.span]
            count, places = each.taps.shape
            if count:
                counted = spikes.take(each.taps, axis=0, mode="clip").reshape(count, -1)
                added = (counted.T @ each.weights).reshape(places, batch, -1)
                level = (level.reshape(places, -1, known.shape[1]) + added.swapaxes(1, 2)).reshape(-1, batch)
            levels = np.empty((batch, len(level)), np.intp)
            levels[:] = level.T
            found = read(levels)
            bits[:, each.span] = found
            spikes[each.span] = found.T
        return bits

    def _begin(self, pasts: Past) -> tuple[Floats, Floats, _Passes]:
        """What is known before the first pass, from pasts [n, B]: levels, the spikes taps point to, the passes.

        The levels are [n, B], or [n, 1] where they are the same for all; the spikes [2 n + 1, B]: this frame, the one
        before, and a silent spike for what lies outside.
        """
        spikes = np.zeros((2 * self._count + 1, pasts.shape[1]), np.float32)
        if self.is_first(pasts):
            return self._start, spikes, self._first
        before = pasts.take(self.order, axis=0)
        spikes[self._count : -1] = before & 1
        row = before.astype(np.intp)
        row += self._row
        return self._base.take(row), spikes, self._later

    def _passes(
        self,
        tables: ModelTables,
        layout: list[tuple[int, int, NDArray[np.intp]]],
        now: NDArray[np.intp],
        before: NDArray[np.intp] | None,
        weights: Int8,
    ) -> _Passes:
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
            passes.append(_Pass(span, np.ascontiguousarray(taps.T), matrix.T.astype(np.float32)))
        return _together(passes, 2 * self._count)


def _together(passes: Sequence[_Pass], silent: int) -> _Passes:
    """The passes, and one product that is all of them; `silent` is the number of a spike that never fires."""
    count, places = np.max([each.taps.shape for each in passes], axis=0)
    channels = max(each.weights.shape[1] for each in passes)
    taps = np.full((len(passes), count, places), silent, np.intp)
    weights = np.zeros((len(passes), count, channels), np.float32)
    numbers = np.arange(len(passes) * places * channels).reshape(len(passes), places, channels)
    found = []
    for number, each in enumerate(passes):
        (t, s), g = each.taps.shape, each.weights.shape[1]
        taps[number, :t, :s] = each.taps
        weights[number, :t, :g] = each.weights
        found.append(numbers[number, :s, :g].ravel())
    return _Passes(passes, taps, weights, np.concatenate(found))


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
