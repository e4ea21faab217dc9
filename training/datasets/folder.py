"""A user's own pictures: one subfolder for each class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from shared.datasets.base import DataSet, Split
from shared.datasets.caltech101 import read_square
from shared.errors import SourceError
from shared.picture_fit import PictureFit

TEST_EVERY = 5
"""Every fifth file of a class, sorted by name, is a test picture."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}


def load_folder(root: Path, size: int, channels: int, fit: PictureFit = "cut") -> DataSet:
    """Read `root/<class>/<picture>`, each fitted to a square of side `size`.

    Args:
        root: has one subfolder for each class.
        size: side of the square in pixels.
        channels: 3 for colour, 1 for grey.
        fit: whether pictures are cut or stretched to a square.

    Returns:
        Pictures uint8 [N, channels, size, size]; the classes in the order of their names.

    Raises:
        SourceError: no such folder, fewer than two classes, a class with fewer than `TEST_EVERY` pictures, or an
            unreadable picture.
    """
    pictures = list_classes(root)
    frames: dict[bool, list[np.ndarray]] = {False: [], True: []}
    labels: dict[bool, list[int]] = {False: [], True: []}
    for label, (name, files) in enumerate(pictures.items()):
        if len(files) < TEST_EVERY:
            raise SourceError(f"{root / name} has {len(files)} pictures: each class needs {TEST_EVERY} or more")
        for index, file in enumerate(files):
            part = is_test(index)
            frames[part].append(_channels(read_square(file, size, fit), channels))
            labels[part].append(label)
    train, test = (Split(np.stack(frames[part]), np.array(labels[part], np.int64)) for part in (False, True))
    return DataSet(
        "folder", tuple(pictures), train, test, False, f"every {TEST_EVERY}th file of a class is for testing"
    )


def list_classes(root: Path) -> dict[str, list[Path]]:
    """The pictures of each class, both in the order of their names; what is hidden (".name") does not count.

    Raises:
        SourceError: there is no such folder, or it has fewer than two subfolders.
    """
    if not root.is_dir():
        raise SourceError(f"{root} is no folder: it should hold one subfolder of pictures for each class")
    classes = sorted(folder for folder in visible(root) if folder.is_dir())
    if len(classes) < 2:
        raise SourceError(f"{root} has {len(classes)} subfolders: a classifier needs two or more, one for each class")
    return {folder.name: sorted(file for file in visible(folder) if is_picture(file)) for folder in classes}


def test_pictures(root: Path, limit: int) -> list[Path]:
    """One picture of each of the first `limit` classes, of those that training keeps for testing.

    Raises:
        SourceError: as `list_classes`.
    """
    return [files[TEST_EVERY - 1] for files in list_classes(root).values()][:limit]


def visible(folder: Path) -> Iterator[Path]:
    """What is in a folder, but what systems and programs hide there (`._photo.png`, `.ipynb_checkpoints`)."""
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def is_picture(path: Path) -> bool:
    """Whether a file's ending is that of a picture."""
    return path.suffix.lower() in SUFFIXES


def is_test(index: int) -> bool:
    """Whether the picture at this place of its class is one to test on."""
    return index % TEST_EVERY == TEST_EVERY - 1


def _channels(picture: np.ndarray, channels: int) -> np.ndarray:
    if channels == 3:
        return picture
    # ITU-R 601 luma, the greyscale of most picture libraries.
    luma = np.tensordot(np.array([0.299, 0.587, 0.114]), picture, axes=(0, 0))
    return luma.round().astype(np.uint8)[None]
