"""The samples of a picture of any mode as 8 bits: what is white in the file is white."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import SourceError

if TYPE_CHECKING:
    from PIL.Image import Image

WHITE_8, WHITE_16 = 255, 65_535
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""TIFF's tags."""

WHITE_IS_ZERO, SIGNED = 0, 2


def eight_bits(picture: Image, mode: str) -> Image:
    """A decoded picture as "L" or "RGB"; transparency is left out.

    Raises:
        SourceError: numbers for which white is not known.
    """
    from PIL import Image  # noqa: PLC0415  the extra `edge`

    tags = _tags(picture)
    if picture.mode in ("L", "LA", "RGB", "RGBA") and _first(tags.get(SAMPLE_FORMAT)) == SIGNED:
        raise SourceError("8 bits with a sign in a picture: white is not known, save it without a sign")
    if picture.mode == "La":
        picture = picture.convert("LA")
    elif picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # the palette's own transparency makes Pillow warn
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray(_sixteen_bits(picture))
    elif picture.mode == "I":
        picture = Image.fromarray(_whole_numbers(picture))
    elif picture.mode == "F":
        picture = Image.fromarray(_floats(picture))
    return picture if picture.mode == mode else picture.convert(mode)


def _sixteen_bits(picture: Image) -> NDArray[np.uint8]:
    """Of TIFF's there may be fewer bits, and white may be 0."""
    values = np.asarray(picture)
    tags = _tags(picture)
    bits = max(8, min(16, int(_first(tags.get(BITS_PER_SAMPLE, 16)))))
    scaled = np.minimum(values >> (bits - 8), WHITE_8).astype(np.uint8)
    return _black_is_zero(scaled, tags)


def _whole_numbers(picture: Image) -> NDArray[np.uint8]:
    """16 bits in a wider type, or 8: Pillow's pictures of mode I hold either. PGM's are 16 bits always."""
    values, tags = np.asarray(picture), _tags(picture)
    least, most = int(values.min()), int(values.max())
    if least < 0 or most > WHITE_16:
        raise SourceError(f"whole numbers {least}..{most} in a picture: white is not known, save it with 8 or 16 bits")
    is_signed = (_first(tags.get(SAMPLE_FORMAT)), _first(tags.get(BITS_PER_SAMPLE))) == (SIGNED, 16)
    shift = 7 if is_signed else 8 if picture.format == "PPM" or most > WHITE_8 else 0
    return _black_is_zero(np.asarray(values >> shift, np.uint8), tags)


def _floats(picture: Image) -> NDArray[np.uint8]:
    """0..1 or 0..255."""
    values = np.asarray(picture)
    # Comparisons with NaN are false.
    if not (values.min() >= 0 and values.max() <= WHITE_8):
        raise SourceError(
            f"floats {values.min():g}..{values.max():g} in a picture: white is not known, give 0..1, or 0..255"
        )
    scale = WHITE_8 if values.max() <= 1 else 1
    return _black_is_zero(np.asarray(np.rint(values * scale), np.uint8), _tags(picture))


def _black_is_zero(values: NDArray[np.uint8], tags: Any) -> NDArray[np.uint8]:
    """TIFF may have it the other way round; Pillow turns pictures of 8 bits itself."""
    return np.asarray(WHITE_8 - values if _first(tags.get(PHOTOMETRIC)) == WHITE_IS_ZERO else values, np.uint8)


def _tags(picture: Image) -> Any:
    return getattr(picture, "tag_v2", {})


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value
