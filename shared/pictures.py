"""The one reader of pictures, for the edge, training and evaluation: the same file gives the same pixels everywhere."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from stat import S_ISREG
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError, SourceError
from shared.memory import available_bytes
from shared.network_spec import Shape
from shared.picture_fit import PictureFit, fit_picture
from shared.picture_formats import HEIF_BRANDS, NOT_READ
from shared.picture_repair import JPEG, PNG, copies
from shared.picture_samples import eight_bits

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

MODES = {1: "L", 3: "RGB"}
ORIENTATION = 0x0112
MOST_PIXELS = 89_478_485
"""Of a picture, where there is memory for it; Pillow warns of larger ones."""

BYTES_PER_PIXEL = 16
"""Of memory at most, while a picture is decoded and converted."""

DRAFT_MARGIN = 3
"""A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size while that is this many times as large as what is needed."""

LONGEST_MAGIC = 12
"""Bytes that tell PNG, JPEG and HEIC."""

log = logging.getLogger(__name__)


def default_max_pixels() -> int:
    """How many pixels a picture may have: as many as there is memory for, and `MOST_PIXELS` at most."""
    return max(1, min(MOST_PIXELS, available_bytes() // BYTES_PER_PIXEL))


def read_picture(
    path: Path, shape: Shape, fit: PictureFit = "cut", *, max_pixels: int | None = None, torn: bool = True
) -> NDArray[np.uint8]:
    """A picture as uint8 of `shape` [C, H, W]: grey for one channel, RGB for three.

    Turned upright as its EXIF data say, and made H x W as `fit` says. What else its metadata hold does not matter.

    Args:
        path: of the file.
        shape: of the pixels wanted.
        fit: how they become so.
        max_pixels: that it may have; None: what there is memory for.
        torn: show a JPEG that lacks its last bytes, with a warning.

    Raises:
        SourceError: it cannot be read; the text says why and does not repeat the path.
        ConfigError: Pillow is not installed.
    """
    channels, height, width = shape
    needed = DRAFT_MARGIN * max(height, width)
    picture = open_picture(path, MODES[channels], max_pixels=max_pixels, torn=torn, needed=needed)
    return _fitted(picture, shape, fit)


def from_image(
    picture: Image, shape: Shape, fit: PictureFit = "cut", *, max_pixels: int | None = None
) -> NDArray[np.uint8]:
    """A Pillow picture, whose pixels may not be read yet, as uint8 of `shape` [C, H, W], see `read_picture`.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return _fitted(_loaded(picture, MODES[shape[0]], max_pixels, None), shape, fit)
    except SourceError:
        raise
    except Exception as error:
        raise _damaged(error) from None


def open_picture(
    path: Path, mode: str = "RGB", *, max_pixels: int | None = None, torn: bool = True, needed: int | None = None
) -> Image:
    """The picture in `path` as "L" or "RGB", decoded and upright. Arguments and errors as `read_picture`.

    `needed` is the side that it must have at least: a large JPEG is decoded smaller. None: as large as it is.
    """
    pillow = _pillow()
    try:
        if not S_ISREG(path.stat().st_mode):  # a pipe or a device has no end
            raise SourceError("it is no file")
        with path.open("rb") as file:
            try:
                return _decoded(file, mode, max_pixels, needed)
            except SourceError:
                raise
            except Exception as error:
                file.seek(0)
                raw = file.read(LONGEST_MAGIC)
                if raw.startswith((PNG, JPEG)):
                    raw += file.read()
                return _repaired(path, raw, error, mode, max_pixels, needed, torn=torn)
    except FileNotFoundError:
        raise SourceError("no such file, and no pattern that matches one") from None
    except SourceError:
        raise
    except pillow.UnidentifiedImageError:
        raise SourceError("no picture in a format that is known here") from None
    except OSError as error:
        raise (SourceError(f"cannot be read: {error.strerror}") if error.strerror else _damaged(error)) from None
    except Exception as error:
        raise _damaged(error) from None


def _repaired(
    path: Path, raw: bytes, why: Exception, mode: str, max_pixels: int | None, needed: int | None, *, torn: bool
) -> Image:
    """The pixels of a file whose metadata are damaged, or that lacks its end. Raises `why` if nothing decodes."""
    for copy, lacks_end in copies(raw, torn=torn):
        with contextlib.suppress(OSError, ValueError, SyntaxError, LookupError, ArithmeticError, TypeError, EOFError):
            picture = _decoded(io.BytesIO(copy), mode, max_pixels, needed)
            if lacks_end:
                log.warning("%s: it lacks its last bytes (%s): what is missing is grey", path, why)
            return picture
    if raw[4:8] == b"ftyp" and raw[8:12] in HEIF_BRANDS:
        raise SourceError("HEIC needs the package pi-heif: pip install '.[heic]' in a checkout") from None
    raise why


def _decoded(file: io.BufferedIOBase, mode: str, max_pixels: int | None, needed: int | None) -> Image:
    pillow = _pillow()
    try:
        picture = pillow.open(file)
    except pillow.DecompressionBombError:
        raise SourceError(f"more than {2 * MOST_PIXELS:,} pixels: no more are read") from None
    with picture:
        if picture.format in NOT_READ:
            raise SourceError(f"{picture.format} is no format of pictures that is read")
        return _loaded(picture, mode, max_pixels, needed)


def _loaded(picture: Image, mode: str, max_pixels: int | None, needed: int | None) -> Image:
    """The picture in this mode, upright, after a look at its size: only then are its pixels decoded."""
    width, height = picture.size
    if not width * height:
        raise SourceError(f"{width} x {height} pixels are no picture")
    most = default_max_pixels() if max_pixels is None else max_pixels
    if width * height > most:
        raise SourceError(f"{width} x {height} pixels are more than --max-pixels {most:,}")
    if needed is not None:
        picture.draft(None, (needed, needed))
    picture.load()
    converted = eight_bits(picture, mode)
    turn = _turns().get(_orientation(picture))
    return converted if turn is None else converted.transpose(turn)


def _orientation(picture: Image) -> object:
    """How the camera was held; 1, upright, where the metadata that would say so are damaged."""
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except Exception:  # garbage makes the parser raise nearly anything
        return 1


def _turns() -> dict[object, Transpose]:
    from PIL.Image import Transpose  # noqa: PLC0415  the extra `edge`

    return {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }


def _fitted(picture: Image, shape: Shape, fit: PictureFit) -> NDArray[np.uint8]:
    channels, height, width = shape
    pixels = np.asarray(fit_picture(picture, width, height, fit), np.uint8)
    return np.ascontiguousarray(pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1))


def _damaged(error: Exception) -> SourceError:
    """A damaged file makes Pillow's readers raise nearly anything: SyntaxError, struct.error, IndexError..."""
    return SourceError(f"damaged or too large: {getattr(error, 'strerror', None) or error}")


def _pillow() -> ModuleType:
    try:
        from PIL import Image  # noqa: PLC0415  the extra `edge`
    except ImportError:
        raise ConfigError("reading pictures needs Pillow: pip install '.[edge]' in a checkout") from None
    with contextlib.suppress(ImportError):
        import pi_heif  # noqa: PLC0415  the extra `heic`

        pi_heif.register_heif_opener()
    return Image
