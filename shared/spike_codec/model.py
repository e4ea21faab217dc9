"""Computes the probability of each spike of a frame from what both sides know when it is coded.

A position's level is a sum of integers: one for its location and its own past, one for each spike around it in the
frame before, and one for each spike around it in this frame that is coded already. So a frame is coded in passes: the
channels of one group at the positions of one colour of a checkerboard. The positions of a pass do not depend on each
other, so a pass is one matrix product. It is computed in float32, on integers small enough that every sum is exact,
whatever the order of the additions.

An encoder knows all spikes and computes all passes in one product. A decoder computes one pass after the other, each
for many samples at once.
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

_Floats = NDArray[np.float32]
"""Their values are integers."""

CodecContext = NDArray[np.uint8]
"""[C, H, W], the past of each neuron: its spikes as binary digits, the latest in the lowest, after a leading 1."""

ReadPass = Callable[[Levels], NDArray[np.integer[Any]]]
"""The spikes [B, m] of B samples at the next m positions, from their levels [B, m]."""


@dataclass(frozen=True, eq=False)
class _Pass:
    """Consecutive positions in coding order: S sites, and at each the g channels of a group.

    `taps` [t, S] are the indices of the spikes that count at each site, and `weights` [t, g] what they add; t may
    be 0.
    """

    span: slice
    taps: NDArray[np.intp]
    weights: _Floats


@dataclass(frozen=True, eq=False)
class _Passes:
    """The passes of a sample's first frame, or of a later one: one by one, and all in one product.

    For that product, `taps` [P, t, S] and `weights` [P, t, g] are padded to the largest pass with silent spikes, and
    `found` [n] has the index of each position in the product [P, S, g].
    """

    each: Sequence[_Pass]
    taps: NDArray[np.intp]
    weights: _Floats
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
        # A row for each position; its first number is for a past of 1, no spikes yet.
        self._base: _Floats = levels.T.ravel()
        self._row: NDArray[np.intp] = np.arange(self._count)[:, np.newaxis] * len(levels) - 1
        self._start: _Floats = np.ascontiguousarray(levels[0])[:, np.newaxis]
        self._start.flags.writeable = False
        now, before = _neighbours(tables, shape, self.order)
        self._first = self._passes(tables, layout, now, None, tables.first)
        self._later = self._passes(tables, layout, now, before, tables.later)
        self._back = np.argsort(self.order)
        pasts = np.arange(2 ** (tables.depth + 1))
        following = (pasts[:, np.newaxis] << 1 | np.arange(2)).ravel()
        forget = 2**tables.depth
        self._next: NDArray[np.uint8] = np.where(
            following < 2 * forget, following, following & (forget - 1) | forget
        ).astype(np.uint8)

    def in_order(self, spikes: Bits) -> Bits:
        """A frame [C, H, W] in coding order, [n]."""
        return spikes.ravel().take(self.order)

    def in_place(self, bits: Bits) -> Bits:
        """The reverse of `in_order`: frames [..., n] in C order."""
        return bits.take(self._back, axis=-1)

    def next_context(self, context: CodecContext, spikes: Bits) -> CodecContext:
        """The context of the frame after `spikes`; `context` is that of `spikes` itself."""
        return self._next.take(context << 1 | spikes)

    @staticmethod
    def is_first(context: CodecContext) -> bool:
        """Whether it is the context of a sample's first frame, which has weights of its own."""
        return bool(context.item(0) == 1)

    def levels(self, context: CodecContext, bits: Bits) -> Levels:
        """The levels [n] of a frame whose spikes are known: `bits` [n] in coding order."""
        known, spikes, passes = self._begin(context.reshape(-1, 1))
        spikes[: self._count, 0] = bits
        # A pass has taps in earlier passes alone, so it does not matter that later spikes are known here too.
        added = spikes.ravel().take(passes.taps, mode="clip").swapaxes(1, 2) @ passes.weights
        return (known.ravel() + added.ravel().take(passes.found)).astype(np.intp)

    def decode(self, context: CodecContext, read: ReadPass) -> Bits:
        """Read a frame pass by pass. Returns its spikes [n] in coding order; `read` gets levels [m], of one sample."""
        known, ours, passes = self._begin(context.reshape(-1, 1))
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

    def decode_batch(self, contexts: Sequence[CodecContext], read: ReadPass) -> Bits:
        """Read frames of B samples pass by pass. Returns their spikes [B, n]; all frames are first ones, or none is."""
        batch = len(contexts)
        # Samples are the last axis, so one index finds the numbers of all samples side by side in memory.
        known, spikes, passes = self._begin(np.array(contexts).reshape(batch, -1).T)
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

    def _begin(self, contexts: CodecContext) -> tuple[_Floats, _Floats, _Passes]:
        """What is known before the first pass, from contexts [n, B]: levels, the spikes that taps index, the passes.

        The levels are [n, B], or [n, 1] if all samples have the same; the spikes are [2 n + 1, B]: this frame, the
        frame before, and one silent spike for positions outside the frame.
        """
        spikes = np.zeros((2 * self._count + 1, contexts.shape[1]), np.float32)
        if self.is_first(contexts):
            return self._start, spikes, self._first
        before = contexts.take(self.order, axis=0)
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
    """Pad the passes so that one product computes all of them; `silent` is the index of a spike that never fires."""
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
    """Indices of the spikes around each site, in this frame and in the frame before: [H W, C', K, K] each."""
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
