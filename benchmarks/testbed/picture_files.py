"""Pictures as the files that would be sent instead: raw, PNG, JPEG, WebP, AVIF, and back; by Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_client.inputs.images import encoded
from shared.pictures import MODES

CODECS = ("raw", "png", "jpeg", "webp", "avif")
Pixels = NDArray[np.uint8]
"""[C, H, W], C 1 or 3."""


def encode(pixels: Pixels, codec: str, quality: int | None) -> bytes:
    """A picture's file as Pillow writes it by default, JPEG's and PNG's tables optimised.

    A slower method would save a few percent of WebP and AVIF, and cost a small edge more time than they take to send.

    Args:
        pixels: [C, H, W].
        codec: one of CODECS.
        quality: of JPEG, WebP and AVIF, 1..100; None for lossless.
    """
    if codec == "raw":
        return pixels.tobytes()
    forms: dict[str, dict[str, Any]] = {
        "png": {"optimize": True},
        "jpeg": {"quality": quality, "optimize": True},
        "webp": {"lossless": True} if quality is None else {"quality": quality, "method": 4},
        "avif": {"quality": quality, "speed": 6, "max_threads": 1},
    }
    return encoded(pixels, codec, **forms[codec])


def decode(data: bytes, codec: str, shape: tuple[int, ...]) -> Pixels:
    """The picture of `shape` [C, H, W] in a file.

    Raises:
        ValueError: it is none of that shape.
    """
    if codec == "raw":
        return np.frombuffer(data, np.uint8).reshape(shape)
    try:
        with Image.open(io.BytesIO(data), formats=[codec]) as picture:
            pixels = np.asarray(picture.convert(MODES[shape[0]]), np.uint8)
    except OSError as error:
        raise ValueError(f"no {codec} file: {error}") from None
    return np.ascontiguousarray(pixels.reshape(*shape[1:], shape[0]).transpose(2, 0, 1))
