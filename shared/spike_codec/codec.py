"""The codec of one bundle. It encodes each frame in its smallest form, and decodes every form or raises an error."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.errors import CodecError
from shared.messages import Codec
from shared.network_spec import Shape
from shared.spike_codec.model import CodecContext, SpikeModel
from shared.spike_codec.range_coder import Bits, Coder, Levels, make_coder
from shared.spike_codec.sparse import decode_sparse, encode_sparse
from shared.spike_codec.tables import CodecTables
from shared.spike_codec.zstd import ZstdCoder

Spikes = NDArray[np.uint8]
"""[C, H, W], zeros and ones."""

TOGETHER = 8
"""Frames decoded together. More are not faster: the tables they read no longer fit into the cache near the core."""

DAMAGED = "a range-coded frame is not what an encoder writes: it is damaged, or something follows it"


class SpikeCodec:
    """Encodes and decodes the frames of one bundle. It keeps no state: the caller passes each sample's context in.

    Args:
        shape: a frame's shape [C, H, W].
        tables: the bundle's tables. Without them a frame is sent as packed bits, or as positions if that is shorter.
    """

    def __init__(self, shape: Shape, tables: CodecTables | None = None) -> None:
        self.shape = shape
        self.spikes = prod(shape)
        self.packed_bytes = -(-self.spikes // 8)
        self._start: CodecContext = np.ones(shape, np.uint8)
        self._start.flags.writeable = False
        self._model: SpikeModel | None = None
        self._coder: Coder | None = None
        self._zstd: ZstdCoder | None = None
        if tables is not None and tables.model is not None:
            self._model = SpikeModel(tables.model, shape)
            self._coder = make_coder(tables.model.chances)
        if tables is not None and tables.dictionary is not None:
            self._zstd = ZstdCoder(tables.dictionary, self.packed_bytes)

    @classmethod
    def of(cls, bundle: Bundle) -> SpikeCodec:
        """Make the codec of a bundle, with its tables if it has any.

        Raises:
            BundleError: the tables are missing, damaged, or do not fit the bundle.
        """
        shape = bundle.manifest.frame_shape
        arrays = bundle.codec_arrays()
        return cls(shape, None if arrays is None else CodecTables.from_arrays(arrays, shape))

    @property
    def max_bytes(self) -> int:
        """No encoded frame is longer, because every frame can be sent as packed bits."""
        return self.packed_bytes

    @property
    def initial_context(self) -> CodecContext:
        """The context of a sample's first frame."""
        return self._start

    def next_context(self, context: CodecContext | None, spikes: Spikes) -> CodecContext:
        """The context of the frame after `spikes`; `context` is that of `spikes`, None for a first frame."""
        if self._model is None:
            return self._start
        return self._model.next_context(self._start if context is None else context, spikes)

    def encode(self, spikes: Spikes, context: CodecContext | None = None) -> tuple[Codec, bytes]:
        """Encode a frame [C, H, W] of zeros and ones: the codec chosen, and the bytes. A silent frame has no bytes.

        Args:
            spikes: the frame.
            context: what `next_context` returned for the sample's frame before; None for its first frame.
        """
        assert spikes.shape == self.shape, (spikes.shape, self.shape)
        fired = int(np.count_nonzero(spikes))
        if not fired:
            return (Codec.SPARSE if self._model is None else Codec.RANGE), b""
        best, data = Codec.RANGE, self.range_bytes(spikes, context)
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

    def range_bytes(self, spikes: Spikes, context: CodecContext | None = None) -> bytes | None:
        """A frame in the range-coded form, for the benchmark; None if the bundle has no model."""
        if self._model is None or self._coder is None:
            return None
        bits = self._model.in_order(spikes)
        return self._coder.encode(self._model.levels(self._start if context is None else context, bits), bits)

    def decode(self, codec: int, data: bytes, context: CodecContext | None = None) -> Spikes:
        """Decode bytes from the network to a frame [C, H, W] of zeros and ones.

        Each codec has one canonical form of every frame. Other bytes are refused, even if they would decode. (zstd is
        the exception: the same bits can be compressed in many forms.)

        Args:
            codec: a `Codec`, or any other number.
            data: any bytes.
            context: what `next_context` returned for the sample's frame before; None for its first frame.

        Raises:
            CodecError: the codec is unknown or the bundle has no tables for it, or the bytes are not a frame.
        """
        if len(data) > self.packed_bytes:
            raise CodecError(f"{len(data)} bytes: no frame of {self.shape} has more than {self.packed_bytes}")
        if codec == Codec.RANGE:
            bits = self._decode_range(data, self._start if context is None else context)
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
        self, frames: Sequence[tuple[int, bytes]], contexts: Sequence[CodecContext | None]
    ) -> list[Spikes | CodecError]:
        """Decode frames of different samples together, which is faster. A frame that fails does not affect the others.

        Args:
            frames: codec and bytes of each frame, as for `decode`.
            contexts: context of each frame, as for `decode`.

        Returns:
            For each frame what `decode` returns, or the error that it raises.
        """
        out: dict[int, Spikes | CodecError] = {}
        first: list[int] = []
        later: list[int] = []
        known = [self._start if context is None else context for context in contexts]
        for number, ((codec, data), context) in enumerate(zip(frames, known, strict=True)):
            if codec == Codec.RANGE and self._model is not None and 0 < len(data) <= self.packed_bytes:
                (first if self._model.is_first(context) else later).append(number)
            else:
                out[number] = self._decode_alone(codec, data, context)
        for numbers in (first, later):
            for start in range(0, len(numbers), TOGETHER):
                some = numbers[start : start + TOGETHER]
                if len(some) == 1:
                    out[some[0]] = self._decode_alone(*frames[some[0]], known[some[0]])
                    continue
                found = self._decode_together([frames[n][1] for n in some], [known[n] for n in some])
                out.update(zip(some, found, strict=True))
        return [out[number] for number in range(len(frames))]

    def _decode_alone(self, codec: int, data: bytes, context: CodecContext) -> Spikes | CodecError:
        try:
            return self.decode(codec, data, context)
        except CodecError as error:
            return error

    def _decode_range(self, data: bytes, context: CodecContext) -> Bits:
        if self._model is None or self._coder is None:
            raise CodecError("codec 0 is range coding, and the bundle has no tables for it")
        if not data:
            return np.zeros(self.spikes, np.uint8)  # the decoder below returns the same
        reader = self._coder.reader(data)
        bits = self._model.decode(context, reader.read)
        if reader.canonical_bytes() != data:
            raise CodecError(DAMAGED)
        return self._model.in_place(bits)

    def _decode_together(self, frames: Sequence[bytes], contexts: Sequence[CodecContext]) -> list[Spikes | CodecError]:
        """Decode range-coded frames that are not empty; either all are the first frame of their sample, or none is."""
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

        bits = self._model.decode_batch(contexts, read)
        for number, (reader, data) in enumerate(zip(readers, frames, strict=True)):
            if number not in errors and reader.canonical_bytes() != data:
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
