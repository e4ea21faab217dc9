"""The forms in which a frame could be sent, as what encodes and decodes it; and a clock around them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import zstandard

from shared.spike_codec import SpikeCodec
from shared.spike_codec.sparse import decode_sparse, encode_sparse
from shared.spike_codec.zstd import ZstdCoder

OURS = "codec (range-coded)"
Form = tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any] | None]
"""encode(frame, past) -> bytes, decode(bytes, past) -> anything."""


def forms_of(codec: SpikeCodec, dictionary: bytes | None) -> dict[str, Form]:
    count, shape = codec.spikes, codec.shape
    plain = zstandard.ZstdCompressor(level=3, write_content_size=False)
    zstd = ZstdCoder(dictionary, codec.packed_bytes) if dictionary is not None else None
    packed_only = SpikeCodec(shape)
    forms: dict[str, Form] = {
        "packed bits": (lambda f, _: np.packbits(f).tobytes(), lambda d, _: packed_only.decode(1, d)),
        "zstd -3": (lambda f, _: plain.compress(np.packbits(f).tobytes()), None),
        "positions (varints)": (lambda f, _: encode_sparse(f.ravel()), lambda d, _: decode_sparse(d, count)),
        OURS: (codec.range_bytes, lambda d, past: codec.decode(0, d, past)),
    }
    if zstd is not None:
        forms["zstd, dictionary"] = (
            lambda f, _: zstd.encode(np.packbits(f).tobytes()),
            lambda d, _: zstd.decode(d),
        )
    return forms


def timed(took: dict[str, list[float]], name: str, call: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    result = call()
    took.setdefault(name, []).append((time.perf_counter() - began) * 1e6)
    return result


def spread_of(values: Sequence[float]) -> list[float]:
    low, middle, high = np.percentile(values, [10, 50, 90])
    return [round(float(middle), 1), round(float(low), 1), round(float(high), 1)]
