"""Spikes to bytes and back, lossless. numpy only: the edge may run without torch.

Bytes from the network are checked against the bundle's frame shape before anything is allocated.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from shared.errors import CodecError
from shared.messages import Codec
from shared.network_spec import Shape

Spikes = NDArray[np.uint8]
"""[C, H, W], zeros and ones."""


class SpikeCodec:
    """Encodes and decodes the frames of one bundle.

    Packed bits: the frame in C order, eight spikes a byte, the first in the highest bit; zeros fill up the last byte.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.spikes = prod(shape)
        self.packed_bytes = -(-self.spikes // 8)

    @property
    def max_bytes(self) -> int:
        """No encoded frame is longer."""
        return self.packed_bytes

    def encode(self, spikes: Spikes) -> tuple[Codec, bytes]:
        """A frame [C, H, W] of zeros and ones to the codec chosen and its bytes."""
        assert spikes.shape == self.shape, (spikes.shape, self.shape)
        return Codec.PACKED_BITS, np.packbits(spikes).tobytes()

    def decode(self, codec: int, data: bytes) -> Spikes:
        """Bytes from the network to a frame [C, H, W] of zeros and ones.

        Raises:
            CodecError: an unknown codec, a wrong length, or bits set in the filling.
        """
        if codec != Codec.PACKED_BITS:
            raise CodecError(f"codec {codec} is not known to this version")
        if len(data) != self.packed_bytes:
            raise CodecError(f"{len(data)} bytes of packed bits: a frame of {self.shape} has {self.packed_bytes}")
        bits = np.unpackbits(np.frombuffer(data, np.uint8))
        if bits[self.spikes :].any():
            raise CodecError("bits are set behind the last spike of the frame")
        return bits[: self.spikes].reshape(self.shape)
