"""A frame as the positions of its spikes: the distances between them, as variable-length integers (LEB128).

It is the smallest form of a frame with few spikes if the bundle has no tables. With tables the range coder is nearly
always smaller.
"""

from __future__ import annotations

import numpy as np

from shared.errors import CodecError
from shared.spike_codec.range_coder import Bits


def encode_sparse(bits: Bits) -> bytes:
    """Encode a frame as the number of silent positions before each spike."""
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
    """Decode bytes to a frame of `count` positions.

    Raises:
        CodecError: a spike lies outside the frame, or an integer is longer than necessary or incomplete.
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
