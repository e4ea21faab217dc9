"""Packed bits compressed by zstandard with the bundle's dictionary, without the constant header.

The two bytes of the header are not sent; the decoder adds its own. So nothing from the network decides how much memory
is allocated: the output is never longer than a frame.
"""

from __future__ import annotations

import zstandard

from shared.errors import CodecError

LEVEL = 3
LEAST_WINDOW = 10
"""log2 of zstandard's smallest window."""


class ZstdCoder:
    """Compresses and decompresses the packed bits of one bundle's frames.

    Args:
        dictionary: the bundle's dictionary.
        packed_bytes: bytes of a frame as packed bits.
    """

    def __init__(self, dictionary: bytes, packed_bytes: int) -> None:
        self._size = packed_bytes
        window = max(LEAST_WINDOW, (packed_bytes - 1).bit_length())
        # No checksum, no sizes, no dictionary number; then the window: 8 * (log2 - 10).
        self._header = bytes((0, (window - LEAST_WINDOW) << 3))
        magicless = zstandard.FORMAT_ZSTD1_MAGICLESS
        self._compressor = zstandard.ZstdCompressor(
            dict_data=zstandard.ZstdCompressionDict(dictionary),
            compression_params=zstandard.ZstdCompressionParameters.from_level(
                LEVEL,
                format=magicless,
                window_log=window,
                write_checksum=False,
                write_content_size=False,
                write_dict_id=False,
            ),
        )
        self._decompressor = zstandard.ZstdDecompressor(
            dict_data=zstandard.ZstdCompressionDict(dictionary), format=magicless, max_window_size=1 << window
        )

    def encode(self, packed: bytes) -> bytes | None:
        """Compress packed bits; None if this zstandard writes a header other than ours."""
        framed = self._compressor.compress(packed)
        return framed[2:] if framed[:2] == self._header else None

    def decode(self, data: bytes) -> bytes:
        """Decompress to packed bits.

        Raises:
            CodecError: the data is damaged, has another size, or something follows it.
        """
        try:
            packed = self._decompressor.decompress(
                self._header + data, max_output_size=self._size, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise CodecError(f"a zstd frame is damaged ({error})") from None
        if len(packed) != self._size:
            raise CodecError(f"a zstd frame holds {len(packed)} bytes, not {self._size}")
        return packed
