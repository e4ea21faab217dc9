"""A user's own pictures: one subfolder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.datasets.base import DataSet, Split
from shared.datasets.caltech101 import read_square
from shared.errors import SourceError
from shared.folders import LeftOut, files_here, visible_folders
from shared.picture_fit import PictureFit
from shared.picture_formats import SUFFIXES

TEST_EVERY = 5
"""Every fifth file of a class, sorted by name, is a test picture."""


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
    left_out = LeftOut()
    pictures = list_classes(root, left_out)
    frames: dict[bool, list[np.ndarray]] = {False: [], True: []}
    labels: dict[bool, list[int]] = {False: [], True: []}
    for label, (name, files) in enumerate(pictures.items()):
        if len(files) < TEST_EVERY:
            raise SourceError(f"{root / name} has {len(files)} pictures: each class needs {TEST_EVERY} or more")
        for index, file in enumerate(files):
            part = is_test(index)
            frames[part].append(read_square(file, size, fit, channels))
            labels[part].append(label)
    left_out.tell()
    train, test = (Split(np.stack(frames[part]), np.array(labels[part], np.int64)) for part in (False, True))
    return DataSet(
        "folder", tuple(pictures), train, test, False, f"every {TEST_EVERY}th file of a class is for testing"
    )


def list_classes(root: Path, left_out: LeftOut | None = None) -> dict[str, list[Path]]:
    """The pictures of each class, both in the order of their names; `left_out` hears of what does not count.

    Raises:
        SourceError: there is no such folder, it has fewer than two subfolders, or the name of one is no text.
    """
    if not root.is_dir():
        raise SourceError(f"{root} is no folder: it should hold one subfolder of pictures for each class")
    classes = visible_folders(root, left_out)
    if len(classes) < 2:
        raise SourceError(f"{root} has {len(classes)} subfolders: a classifier needs two or more, one for each class")
    return {_class_name(folder): files_here(folder, SUFFIXES, left_out) for folder in classes}


def test_pictures(root: Path, limit: int) -> list[Path]:
    """One picture of each of the first `limit` classes, of those that training keeps for testing.

    Raises:
        SourceError: as `list_classes`.
    """
    return [files[TEST_EVERY - 1] for files in list_classes(root).values()][:limit]


def is_test(index: int) -> bool:
    """Whether the picture at this place of its class is one to test on."""
    return index % TEST_EVERY == TEST_EVERY - 1


def _class_name(folder: Path) -> str:
    """The name of a class is written into JSON, and is shown: it must be text."""
    name = folder.name
    if any(letter < " " or "\x7f" <= letter <= "\x9f" or "\ud800" <= letter <= "\udfff" for letter in name):
        raise SourceError(
            f"{ascii(name)[1:-1]}: the name of this folder is no text, and it would be a class: rename it"
        )
    return name
