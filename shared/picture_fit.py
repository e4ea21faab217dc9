"""Resizes pictures to a network's input size, in training and on the edge alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

PictureFit = Literal["cut", "stretch"]
"""`cut` keeps the aspect: the picture is scaled until it just covers the target, and cut to it around its centre.
`stretch` keeps the whole picture: each axis is scaled by itself."""


def fit_picture(picture: Image, width: int, height: int, fit: PictureFit) -> Image:
    """The picture at `width` x `height` pixels, scaled bilinearly over the area that each new pixel covers.

    Args:
        picture: of any size.
        width: of the result in pixels.
        height: of the result in pixels.
        fit: whether the picture is cut or stretched to the new aspect.
    """
    from PIL import Image, ImageOps  # noqa: PLC0415  the extra `edge`

    if fit == "stretch":
        return picture.resize((width, height), Image.Resampling.BILINEAR)
    return ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
