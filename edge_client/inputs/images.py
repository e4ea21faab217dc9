"""Arrays as pictures of the shape that a head takes, and how small ordinary formats make them."""

from __future__ import annotations

import io
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError, SourceError
from shared.network_spec import Shape
from shared.picture_fit import PictureFit
from shared.pictures import MODES, from_image

FORMATS: dict[str, dict[str, Any]] = {
    "png": {"optimize": True},
    "jpeg": {"quality": 90, "optimize": True},
    "webp": {"quality": 75},
}
"""The files that a picture is compared with, by Pillow's names, and what they are written with."""
CHANNELS = (1, 3, 4)
"""Of pictures as arrays: grey, RGB, RGBA."""


def from_array(pixels: NDArray[Any], shape: Shape, fit: PictureFit = "cut") -> NDArray[np.uint8]:
    """A uint8 picture [H, W], [H, W, C] or [C, H, W] with C = 1 (grey), 3 (RGB) or 4 (RGBA) as uint8 of `shape`.

    Where both axes could be channels, the last one is. Another size is fitted as `read_picture` does.

    Raises:
        SourceError: it is no such array.
    """
    if pixels.dtype != np.uint8:
        raise SourceError(f"an array of {pixels.dtype} is no picture: give uint8, 0..255")
    if pixels.ndim == 3 and pixels.shape[2] not in CHANNELS and pixels.shape[0] in CHANNELS:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if 0 in pixels.shape or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in CHANNELS)):
        raise SourceError(f"an array {list(pixels.shape)} is no picture: give [H, W], [H, W, C] or [C, H, W]")
    return from_image(_pillow().fromarray(np.ascontiguousarray(pixels)), shape, fit)


def encoded_sizes(pixels: NDArray[np.uint8]) -> dict[str, int] | None:
    """The bytes of a picture [C, H, W] in each of `FORMATS`; None for what is no picture.

    Also None without Pillow: a comparison is no reason to end a run.
    """
    if pixels.ndim != 3 or pixels.shape[0] not in MODES:
        return None
    try:
        return {form: len(encoded(pixels, form, **options)) for form, options in FORMATS.items()}
    except ConfigError:
        return None


def encoded(pixels: NDArray[np.uint8], form: str, **options: Any) -> bytes:
    """A picture [C, H, W], C 1 or 3, as the file that Pillow writes with these options.

    Raises:
        ConfigError: Pillow is not installed.
    """
    rows = pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    buffer = io.BytesIO()
    _pillow().fromarray(rows).save(buffer, form, **options)
    return buffer.getvalue()


def _pillow() -> ModuleType:
    try:
        from PIL import Image  # noqa: PLC0415  the extra `edge`
    except ImportError:
        raise ConfigError("reading pictures needs Pillow: pip install '.[edge]' in a checkout") from None
    return Image
