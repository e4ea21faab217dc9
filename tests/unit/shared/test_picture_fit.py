"""Pictures of any size become one size, cut or stretched."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shared.picture_fit import PictureFit, fit_picture


def stripes() -> Image.Image:
    """96 x 32 pixels: a white middle third between black ones."""
    pixels = np.zeros((32, 96), np.uint8)
    pixels[:, 32:64] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("fit", ["cut", "stretch"])
@pytest.mark.parametrize("size", [(32, 32), (16, 48), (200, 7)])
def test_a_picture_gets_the_size_asked_for(size: tuple[int, int], fit: PictureFit) -> None:
    assert fit_picture(stripes(), *size, fit).size == size


def test_cut_keeps_the_centre_alone() -> None:
    assert np.asarray(fit_picture(stripes(), 32, 32, "cut")).min() == 255


def test_stretch_keeps_all_of_the_picture() -> None:
    stretched = np.asarray(fit_picture(stripes(), 33, 32, "stretch")).astype(int)
    assert (stretched[:, :10] == 0).all()
    assert (stretched[:, 12:21] == 255).all()
    assert (stretched[:, 23:] == 0).all()
