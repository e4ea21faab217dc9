"""The codec of one bundle: each frame in the form that is smallest, and any form back, or an error."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.errors import CodecError
from shared.messages import Codec
from shared.network_spec import Shape
from shared.spike_codec.model import Past, SpikeModel
from shared.spike_codec.range_coder import Bits, Coder, Levels, coder
from shared.spike_codec.sparse import decode_sparse, encode_sparse
from shared.spike_codec.tables import CodecTables
from shared.spike_codec.zstd import ZstdCoder

Spikes = NDArray[np.uint8]
"""[C, H, W], zeros and ones."""

TOGETHER = 8
"""Frames decoded in step: more of them are not faster, as what they look up no longer fits near the core."""

DAMAGED = "a range-coded frame is not what an encoder writes: damaged, or followed by something"


class SpikeCodec:
    """Encodes and decodes the frames of one bundle. It keeps nothing between calls: a sample's past is handed in.

    Args:
        shape: of a frame, [C, H, W].
        tables: of the bundle; without them frames are packed bits, or positions where those are fewer bytes.
    """

    def __init__(self, shape: Shape, tables: CodecTables | None = None) -> None:
        self.shape = shape
        self.spikes = prod(shape)
        self.packed_bytes = -(-self.spikes // 8)
        self._start: Past = np.ones(shape, np.uint8)
        self._start.flags.writeable = False
        self._model: SpikeModel | None = None
        self._coder: Coder | None = None
        self._zstd: ZstdCoder | None = None
        if tables is not None and tables.model is not None:
            self._model = SpikeModel(tables.model, shape)
            self._coder = coder(tables.model.chances)
        if tables is not None and tables.dictionary is not None:
            self._zstd = ZstdCoder(tables.dictionary, self.packed_bytes)

    @classmethod
    def of(cls, bundle: Bundle) -> SpikeCodec:
        """The codec of a bundle, with its tables where it has some.

        Raises:
            BundleError: the tables are missing, damaged, or do not fit the bundle.
        """
        shape = bundle.manifest.frame_shape
        arrays = bundle.codec_arrays()
        return cls(shape, None if arrays is None else CodecTables.from_arrays(arrays, shape))

    @property
    def max_bytes(self) -> int:
        """No encoded frame is longer: packed bits always are among the forms."""
        return self.packed_bytes

    @property
    def start(self) -> Past:
        """The past of a sample's first frame."""
        return self._start

    def after(self, past: Past | None, spikes: Spikes) -> Past:
        """The past of the frame that follows `spikes`, which itself had `past` (None: it was the first)."""
        if self._model is None:
            return self._start
        return self._model.after(self._start if past is None else past, spikes)

    def encode(self, spikes: Spikes, past: Past | None = None) -> tuple[Codec, bytes]:
        """A frame [C, H, W] of zeros and ones to the codec chosen and its bytes; a silent frame is no bytes at all.

        Args:
            spikes: the frame.
            past: what `after` gave for the sample's frame before; None for its first.
        """
        assert spikes.shape == self.shape, (spikes.shape, self.shape)
        fired = int(np.count_nonzero(spikes))
        if not fired:
            return (Codec.SPARSE if self._model is None else Codec.RANGE), b""
        best, data = Codec.RANGE, self.range_bytes(spikes, past)
        if data is None or len(data) > self.packed_bytes:
            best, data = Codec.PACKED_BITS, np.packbits(spikes).tobytes()
        # A position costs a byte at least: more of them cannot be smaller.
        if fired < len(data) and len(positions := encode_sparse(spikes.ravel())) < len(data):
            best, data = Codec.SPARSE, positions
        if self._zstd is not None:
            squeezed = self._zstd.encode(np.packbits(spikes).tobytes())
            if squeezed is not None and len(squeezed) < len(data):
                best, data = Codec.ZSTD, squeezed
        return best, data

    def range_bytes(self, spikes: Spikes, past: Past | None = None) -> bytes | None:
        """A frame range-coded; None if the bundle has no model. For the benchmark; `encode` chooses."""
        if self._model is None or self._coder is None:
            return None
        bits = self._model.in_order(spikes)
        return self._coder.encode(self._model.levels(self._start if past is None else past, bits), bits)

    def decode(self, codec: int, data: bytes, past: Past | None = None) -> Spikes:
        """Bytes from the network to a frame [C, H, W] of zeros and ones.

        Every frame has one spelling in each codec: bytes that would decode to a frame, but are not what an encoder
        makes of it, are refused. (zstd is the exception: there are many ways to compress the same bits.)

        Args:
            codec: a `Codec`, or any other number.
            data: any bytes.
            past: what `after` gave for the sample's frame before; None for its first.

        Raises:
            CodecError: an unknown codec, one that the bundle has no tables for, or bytes that are no frame.
        """
        if len(data) > self.packed_bytes:
            raise CodecError(f"{len(data)} bytes: no frame of {self.shape} has more than {self.packed_bytes}")
        if codec == Codec.RANGE:
            bits = self._decode_range(data, self._start if past is None else past)
        elif codec == Codec.SPARSE:
            bits = decode_sparse(data, self.spikes)
        elif codec == Codec.PACKED_BITS:
            bits = self._unpack(data)
        elif codec == Codec.ZSTD:
            if self._zstd is None:
                raise CodecError("codec 3 is zstd, and the bundle has no dictionary for it")
            bits = self._unpack(self._zstd.decode(data))
        else:
            raise CodecError(f"codec {codec} is not known to this version")
        return bits.reshape(self.shape)

    def decode_batch(
        self, frames: Sequence[tuple[int, bytes]], pasts: Sequence[Past | None]
    ) -> list[Spikes | CodecError]:
        """Frames of different samples, decoded in step: faster than one after the other, and none fails for another.

        Args:
            frames: of each its codec and its bytes, as for `decode`.
            pasts: of each what `after` gave for its sample's frame before; None for a sample's first.

        Returns:
            For each frame what `decode` gives, or the error that it raises.
        """
        out: dict[int, Spikes | CodecError] = {}
        first: list[int] = []
        later: list[int] = []
        known = [self._start if past is None else past for past in pasts]
        for number, ((codec, data), past) in enumerate(zip(frames, known, strict=True)):
            if codec == Codec.RANGE and self._model is not None and 0 < len(data) <= self.packed_bytes:
                (first if self._model.is_first(past) else later).append(number)
            else:
                out[number] = self._decode_alone(codec, data, past)
        for numbers in (first, later):
            for start in range(0, len(numbers), TOGETHER):
                some = numbers[start : start + TOGETHER]
                if len(some) == 1:
                    out[some[0]] = self._decode_alone(*frames[some[0]], known[some[0]])
                    continue
                found = self._decode_together([frames[n][1] for n in some], [known[n] for n in some])
                out.update(zip(some, found, strict=True))
        return [out[number] for number in range(len(frames))]

    def _decode_alone(self, codec: int, data: bytes, past: Past) -> Spikes | CodecError:
        try:
            return self.decode(codec, data, past)
        except CodecError as error:
            return error

    def _decode_range(self, data: bytes, past: Past) -> Bits:
        if self._model is None or self._coder is None:
            raise CodecError("codec 0 is range coding, and the bundle has no tables for it")
        if not data:
            return np.zeros(self.spikes, np.uint8)  # what the decoder below gives too
        reader = self._coder.reader(data)
        bits = self._model.decode(past, reader.read)
        if reader.spelling() != data:
            raise CodecError(DAMAGED)
        return self._model.in_place(bits)

    def _decode_together(self, frames: Sequence[bytes], pasts: Sequence[Past]) -> list[Spikes | CodecError]:
        """Range-coded frames of some bytes, all of them their samples' first or none of them."""
        assert self._model is not None
        assert self._coder is not None
        readers = [self._coder.reader(data) for data in frames]
        errors: dict[int, CodecError] = {}

        def read(levels: Levels) -> Bits:
            bits = np.zeros(levels.shape, np.uint8)
            for number, reader in enumerate(readers):
                if number not in errors:
                    try:
                        bits[number] = reader.read(levels[number])
                    except CodecError as error:
                        errors[number] = error
            return bits

        bits = self._model.decode_batch(pasts, read)
        for number, (reader, data) in enumerate(zip(readers, frames, strict=True)):
            if number not in errors and reader.spelling() != data:
                errors[number] = CodecError(DAMAGED)
        spikes = self._model.in_place(bits).reshape(-1, *self.shape)
        return [errors.get(number, frame) for number, frame in enumerate(spikes)]

    def _unpack(self, data: bytes) -> Bits:
        if len(data) != self.packed_bytes:
            raise CodecError(f"{len(data)} bytes of packed bits: a frame of {self.shape} has {self.packed_bytes}")
        bits = np.unpackbits(np.frombuffer(data, np.uint8))
        if bits[self.spikes :].any():
            raise CodecError("bits are set behind the last spike of the frame")
        return bits[: self.spikes]
