"""Spike codec tables that were fitted to nothing: every part of them counts, and frames get short and long."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.network_spec import Shape
from shared.spike_codec import CodecTables
from shared.spike_codec.range_coder import WHOLE
from shared.spike_codec.tables import ModelTables

LEVELS = 256


def make_tables(
    shape: Shape,
    *,
    depth: int = 2,
    size: int = 3,
    groups: int = 2,
    cell: tuple[int, int] = (1, 1),
    dictionary: bytes | None = None,
    like: NDArray[np.uint8] | None = None,
    seed: int = 0,
) -> CodecTables:
    """Random tables for frames of `shape`.

    Args:
        shape: of the frames.
        depth: spikes of a neuron's past that count.
        size: of the neighbourhood.
        groups: of channels.
        cell: height and width of the base's places.
        dictionary: for zstd.
        like: frames [..., C, H, W]; the tables are then so good for them that they get shorter than packed bits.
        seed: of all that is random.
    """
    random = np.random.default_rng(seed)
    channels, height, width = shape
    chances = WHOLE / (1.0 + np.exp((LEVELS // 2 - np.arange(LEVELS)) / 16))
    base = random.integers(-100, 30, (2 ** (depth + 1) - 1, channels, height // cell[0], width // cell[1]))
    most = 30
    if like is not None:
        most = 1
        fired = like.reshape(-1, *shape)
        share = (fired.sum(0) + 0.5) / (len(fired) + 1)
        base[:] = np.round(16 * np.log(share / (1 - share)))[:, :: cell[0], :: cell[1]]
    first, later, past = random.integers(-most, most + 1, (3, channels, 2, channels, size, size)).astype(np.int8)
    model = ModelTables(
        chances.round().astype(np.uint32),
        base.astype(np.int8),
        random.permutation(channels).astype(np.uint8) % groups,
        first,
        later,
        past,
    )
    return CodecTables(model, dictionary)
