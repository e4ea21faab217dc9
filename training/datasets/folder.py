"""A user's own pictures: one subfolder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.datasets.base import DataSet, Split
from shared.datasets.caltech101 import read_square
from shared.errors import SourceError
from shared.picture_fit import PictureFit

TEST_EVERY = 5
"""Of each class's files, sorted by name, every fifth is a test picture."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}


def load_folder(root: Path, size: int, channels: int, fit: PictureFit = "cut") -> DataSet:
    """Read `root/<class>/<picture>`, each fitted to a square of side `size`.

    Returns:
        Pictures uint8 [N, channels, size, size]; the classes in the order of their names.

    Raises:
        SourceError: fewer than two classes, a class with fewer than `TEST_EVERY` pictures, or an unreadable picture.
    """
    if not root.is_dir():
        raise SourceError(f"{root} is no folder: it should hold one subfolder of pictures for each class")
    classes = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    if len(classes) < 2:
        raise SourceError(f"{root} has {len(classes)} subfolders: a classifier needs two or more, one for each class")
    frames: dict[bool, list[np.ndarray]] = {False: [], True: []}
    labels: dict[bool, list[int]] = {False: [], True: []}
    for label, name in enumerate(classes):
        files = sorted(file for file in (root / name).iterdir() if file.suffix.lower() in SUFFIXES)
        if len(files) < TEST_EVERY:
            raise SourceError(f"{root / name} has {len(files)} pictures: each class needs {TEST_EVERY} or more")
        for index, file in enumerate(files):
            is_test = index % TEST_EVERY == TEST_EVERY - 1
            frames[is_test].append(_channels(read_square(file, size, fit), channels))
            labels[is_test].append(label)
    train, test = (Split(np.stack(frames[part]), np.array(labels[part], np.int64)) for part in (False, True))
    return DataSet("folder", tuple(classes), train, test, False, f"every {TEST_EVERY}th file of a class is for testing")


def _channels(picture: np.ndarray, channels: int) -> np.ndarray:
    if channels == 3:
        return picture
    # ITU-R 601 luma, the greyscale of most picture libraries.
    luma = np.tensordot(np.array([0.299, 0.587, 0.114]), picture, axes=(0, 0))
    return luma.round().astype(np.uint8)[None]
