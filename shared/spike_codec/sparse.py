"""A frame as the positions of its spikes: the distances between them, as variable-length integers (LEB128).

For a few spikes in a frame without tables; with them the range coder is smaller on all but freak frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.errors import CodecError

Bits = NDArray[np.uint8]
"""[n], zeros and ones."""


def encode_sparse(bits: Bits) -> bytes:
    """A frame to its silent runs: before each spike, how many positions since the one before it are silent."""
    positions = np.flatnonzero(bits)
    runs = np.diff(positions, prepend=-1) - 1
    if not runs.size or int(runs.max()) < 0x80:
        return runs.astype(np.uint8).tobytes()
    out = bytearray()
    for run in runs.tolist():
        left = run
        while left >= 0x80:
            out.append(left & 0x7F | 0x80)
            left >>= 7
        out.append(left)
    return bytes(out)


def decode_sparse(data: bytes, count: int) -> Bits:
    """Bytes to a frame of `count` positions.

    Raises:
        CodecError: a spike lies outside the frame, or an integer is not as short as it can be, or is not whole.
    """
    bits = np.zeros(count, np.uint8)
    position = -1
    run = shift = 0
    for byte in data:
        if shift and not byte:
            raise CodecError("a sparse frame has an integer longer than it need be")
        run |= (byte & 0x7F) << shift
        if run >= count:
            raise CodecError(f"a sparse frame has a spike outside the frame's {count} positions")
        if byte & 0x80:
            shift += 7
            continue
        position += run + 1
        if position >= count:
            raise CodecError(f"a sparse frame has a spike outside the frame's {count} positions")
        bits[position] = 1
        run = shift = 0
    if shift:
        raise CodecError("a sparse frame ends within an integer")
    return bits
