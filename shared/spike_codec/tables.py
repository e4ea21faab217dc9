"""The codec tables of a bundle. They are integers, so that every machine computes the same chances.

Range-coded frames need `ModelTables`, zstd frames need a dictionary. A bundle may have one, both or neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import BundleError
from shared.network_spec import Shape
from shared.spike_codec.range_coder import WHOLE

DEPTH_LIMIT = 6
"""A neuron's past, up to 6 spikes and a leading 1, fits into a byte even while the next spike is shifted in."""

SUM_LIMIT = 1 << 24
"""float32 represents every integer up to this, so smaller sums are exact in any order of additions."""

Int8 = NDArray[np.int8]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ModelTables:
    """How likely a spike is. A position's level is the sum of `base` and of the weights of the spikes around it.

    chances: uint32 [L], the chance of a spike at each level, in 1/2^24; a sum of 0 is level L // 2.
    base: int8 [2^(D+1) - 1, C, H / a, W / b]. The first axis is the neuron's past minus 1 (see `CodecContext`), with
        up to D spikes (with D = 0 every frame counts as a first one); the other axes are its location, in cells of a x
        b positions.
    group: uint8 [C]. Channels of a lower group are coded before those of a higher one; within a group first the
        positions whose row and column add up to an even number (colour 0), then the others (colour 1).
    first, later: int8 [C, 2, C', K, K], what a spike of channel C' adds to the level of channel C at a position of
        either colour, K // 2 rows and columns around it, if it is coded already; at a sample's first frame, and later.
    past: int8 [C, 2, C', K, K], the same for the spikes of the frame before.
    """

    chances: NDArray[np.uint32]
    base: Int8
    group: NDArray[np.uint8]
    first: Int8
    later: Int8
    past: Int8

    @property
    def depth(self) -> int:
        """D: how many of a neuron's earlier frames count."""
        return len(self.base).bit_length() - 1


@dataclass(frozen=True, eq=False)
class CodecTables:
    """The contents of a bundle's codec file."""

    model: ModelTables | None = None
    dictionary: bytes | None = None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The tables by name, as they are stored; `from_arrays` reads them back."""
        out: dict[str, NDArray[Any]] = {}
        if self.model is not None:
            out = {f"model.{name}": getattr(self.model, name) for name in _KINDS}
        if self.dictionary is not None:
            out["zstd.dictionary"] = np.frombuffer(self.dictionary, np.uint8)
        return out

    @classmethod
    def from_arrays(cls, arrays: Arrays, shape: Shape) -> CodecTables:
        """Check the arrays of a file, for frames of `shape`, and make tables from them.

        Raises:
            BundleError: an array is missing, unknown, or does not fit the shape; the message names it.
        """
        known = {f"model.{name}" for name in _KINDS}
        surprise = set(arrays) - known - {"zstd.dictionary"}
        if surprise:
            raise BundleError(f"codec tables hold {min(surprise)}, which this version does not know")
        model = None
        if known & set(arrays):
            model = _model(arrays, shape)
        dictionary = arrays.get("zstd.dictionary")
        if dictionary is not None and (dictionary.dtype != np.uint8 or dictionary.ndim != 1 or not dictionary.size):
            raise BundleError("codec tables: zstd.dictionary must be bytes, and not none")
        return cls(model, None if dictionary is None else dictionary.tobytes())


_KINDS = {
    "chances": np.uint32,
    "base": np.int8,
    "group": np.uint8,
    "first": np.int8,
    "later": np.int8,
    "past": np.int8,
}


def _model(arrays: Arrays, shape: Shape) -> ModelTables:
    found = {}
    for name, kind in _KINDS.items():
        if f"model.{name}" not in arrays:
            raise BundleError(f"codec tables lack model.{name}")
        found[name] = arrays[f"model.{name}"]
        if found[name].dtype != kind:
            raise BundleError(f"codec tables: model.{name} is {found[name].dtype}, it must be {np.dtype(kind)}")
    tables = ModelTables(**found)
    _check(tables, shape)
    return tables


def _check(tables: ModelTables, shape: Shape) -> None:
    channels, height, width = shape
    chances, base = tables.chances, tables.base
    if chances.ndim != 1 or not chances.size or int(chances.min()) < 2 or int(chances.max()) >= WHOLE:
        raise BundleError("codec tables: model.chances must be numbers above 1 and below 2^24")
    fits = base.ndim == 4 and base.shape[1] == channels and min(base.shape) > 0
    if not fits or height % base.shape[2] or width % base.shape[3]:
        raise BundleError(f"codec tables: model.base is {base.shape}, which does not divide a frame of {shape}")
    if not 0 <= tables.depth <= DEPTH_LIMIT or len(base) != 2 ** (tables.depth + 1) - 1:
        raise BundleError(f"codec tables: model.base has {len(base)} pasts: one of 1, 3, 7, 15, 31, 63, 127")
    if tables.group.shape != (channels,):
        raise BundleError(f"codec tables: model.group is {tables.group.shape}, there are {channels} channels")
    size = tables.first.shape[-1] if tables.first.ndim else 0
    expected = (channels, 2, channels, size, size)
    for name in ("first", "later", "past"):
        weights = getattr(tables, name)
        if weights.shape != expected or not size % 2:
            raise BundleError(f"codec tables: model.{name} is {weights.shape}, it must be {expected}, the last two odd")
    if 2 * channels * size * size * 128 + chances.size >= SUM_LIMIT:
        raise BundleError(f"codec tables: {channels} channels with {size} x {size} neighbours are too many")
