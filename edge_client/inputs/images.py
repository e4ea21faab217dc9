"""Pictures from disk to what a head takes, and how small ordinary formats make them. Pillow is imported when needed."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError, SourceError
from shared.network_spec import Shape
from shared.picture_fit import PictureFit, fit_picture

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""What counts as a picture in a folder; a file that is named itself is tried whatever its suffix."""

JPEG = {"quality": 90, "optimize": True}
MODES = {1: "L", 3: "RGB"}
CHANNELS = (1, 3, 4)
"""Of pictures as arrays: grey, RGB, RGBA."""


def read_picture(path: Path, shape: Shape, fit: PictureFit = "cut") -> NDArray[np.uint8]:
    """A picture as uint8 of `shape` [C, H, W]: grey for one channel, RGB for three.

    Turned upright as its EXIF data say, and made H x W as `fit` says.

    Raises:
        SourceError: it cannot be read; the text says why and does not repeat the path.
    """
    pillow = _pillow()
    try:
        with pillow.open(path) as picture:
            return _fitted(picture, shape, fit)
    except FileNotFoundError:
        raise SourceError("no such file, and no pattern that matches one") from None
    except pillow.UnidentifiedImageError:
        raise SourceError("no picture in a format that is known here") from None
    except Exception as error:
        raise _damaged(error) from None


def from_image(picture: Image, shape: Shape, fit: PictureFit = "cut") -> NDArray[np.uint8]:
    """A Pillow picture, whose pixels may not be read yet, as uint8 of `shape` [C, H, W], see `read_picture`.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return _fitted(picture, shape, fit)
    except Exception as error:
        raise _damaged(error) from None


def _damaged(error: Exception) -> SourceError:
    """A damaged file makes Pillow's readers raise nearly anything: SyntaxError, struct.error, IndexError..."""
    return SourceError(f"damaged or too large: {getattr(error, 'strerror', None) or error}")


def _fitted(picture: Image, shape: Shape, fit: PictureFit) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps  # noqa: PLC0415  the extra `edge`

    channels, height, width = shape
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I;16"):  # convert() would cut off everything above 255
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    converted = upright.convert(MODES[channels])
    pixels = np.asarray(fit_picture(converted, width, height, fit), np.uint8)
    return np.ascontiguousarray(pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1))


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


def encoded_sizes(pixels: NDArray[np.uint8]) -> tuple[int, int] | None:
    """The bytes of a picture [C, H, W] as PNG (optimised) and as JPEG of quality 90; None for what is no picture.

    Also None without Pillow: a comparison is no reason to end a run.
    """
    if pixels.ndim != 3 or pixels.shape[0] not in MODES:
        return None
    try:
        return len(encoded(pixels, "PNG", optimize=True)), len(encoded(pixels, "JPEG", **JPEG))
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
