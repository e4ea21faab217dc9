"""How a picture of any size becomes one of the size that a network takes: the same in training and on the edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

PictureFit = Literal["cut", "stretch"]
"""`cut` keeps the aspect: the picture is scaled until it just covers the target, and cut to it around its centre.
`stretch` keeps the whole picture: each axis is scaled by itself."""


def fit_picture(picture: Image, width: int, height: int, fit: PictureFit) -> Image:
    """The picture at `width` x `height` pixels, scaled bilinearly over the area that each new pixel covers."""
    from PIL import Image, ImageOps  # noqa: PLC0415  the extra `edge`

    if fit == "stretch":
        return picture.resize((width, height), Image.Resampling.BILINEAR)
    return ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
