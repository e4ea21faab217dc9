"""Caltech-101 from its official folder layout, and its ten classes on which EC-SNN is measured.

The classes are sorted as their folder names sort by byte (capitals first), BACKGROUND_Google left out: Faces is 0,
Faces_easy 1, Leopards 2, Motorbikes 3, accordion 4, ..., yin_yang 100. EC-SNN (Yu et al., IJCAI 2024) lists its subset
as the ids 5, 3, 0, 1, 94, 2, 12, 19, 55, 23 without saying into which list. We take them as indices into this one: they
then name the ten largest classes, in order of size (airplanes 800, ..., chandelier 107), which is no coincidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.datasets.base import DatasetInfo, Part, Piece, Request, Split, check_complete, find_folder, single
from shared.errors import SourceError
from shared.folders import files_here
from shared.picture_fit import PictureFit
from shared.picture_formats import SUFFIXES
from shared.pictures import read_picture

FOLDER = "101_ObjectCategories"
SIZE = 64
TEST_SHARE = 5

# fmt: off
COUNTS: dict[str, int] = {
    "Faces": 435, "Faces_easy": 435, "Leopards": 200, "Motorbikes": 798, "accordion": 55, "airplanes": 800,
    "anchor": 42, "ant": 42, "barrel": 47, "bass": 54, "beaver": 46, "binocular": 33, "bonsai": 128, "brain": 98,
    "brontosaurus": 43, "buddha": 85, "butterfly": 91, "camera": 50, "cannon": 43, "car_side": 123, "ceiling_fan": 47,
    "cellphone": 59, "chair": 62, "chandelier": 107, "cougar_body": 47, "cougar_face": 69, "crab": 73, "crayfish": 70,
    "crocodile": 50, "crocodile_head": 51, "cup": 57, "dalmatian": 67, "dollar_bill": 52, "dolphin": 65,
    "dragonfly": 68, "electric_guitar": 75, "elephant": 64, "emu": 53, "euphonium": 64, "ewer": 85, "ferry": 67,
    "flamingo": 67, "flamingo_head": 45, "garfield": 34, "gerenuk": 34, "gramophone": 51, "grand_piano": 99,
    "hawksbill": 100, "headphone": 42, "hedgehog": 54, "helicopter": 88, "ibis": 80, "inline_skate": 31,
    "joshua_tree": 64, "kangaroo": 86, "ketch": 114, "lamp": 61, "laptop": 81, "llama": 78, "lobster": 41, "lotus": 66,
    "mandolin": 43, "mayfly": 40, "menorah": 87, "metronome": 32, "minaret": 76, "nautilus": 55, "octopus": 35,
    "okapi": 39, "pagoda": 47, "panda": 38, "pigeon": 45, "pizza": 53, "platypus": 34, "pyramid": 57, "revolver": 82,
    "rhino": 59, "rooster": 49, "saxophone": 40, "schooner": 63, "scissors": 39, "scorpion": 84, "sea_horse": 57,
    "snoopy": 35, "soccer_ball": 64, "stapler": 45, "starfish": 86, "stegosaurus": 59, "stop_sign": 64,
    "strawberry": 35, "sunflower": 85, "tick": 49, "trilobite": 86, "umbrella": 75, "watch": 239, "water_lilly": 37,
    "wheelchair": 59, "wild_cat": 34, "windsor_chair": 56, "wrench": 39, "yin_yang": 60,
}
# fmt: on
"""Official number of pictures of each class, in label order."""

BACKGROUND = "BACKGROUND_Google"
BACKGROUND_COUNT = 467
EC_SNN_IDS = (5, 3, 0, 1, 94, 2, 12, 19, 55, 23)
CLASSES = tuple(COUNTS)
CLASSES_10 = tuple(CLASSES[i] for i in EC_SNN_IDS)


def part_of(paths: Sequence[Path], part: Part) -> Sequence[Path]:
    """The files of one class, sorted by name, that belong to a part: the last fifth (rounded down, at least 1) is test.

    A block and not every fifth file: neighbouring numbers are often shots of one person or object.
    """
    cut = len(paths) - max(1, len(paths) // TEST_SHARE)
    return paths[cut:] if part == "test" else paths[:cut]


def recordings(counts: Sequence[int]) -> tuple[int, int]:
    """(train, test) numbers of samples that `part_of` makes of classes of these sizes."""
    test = sum(max(1, n // TEST_SHARE) for n in counts)
    return sum(counts) - test, test


def list_class_files(
    request: Request, folder: Path, counts: dict[str, int], suffixes: frozenset[str], what: str
) -> list[Piece]:
    """The files of the part asked for, one of each class in turn, after checking that every class is complete.

    Args:
        request: says which part, and whether a partial set is allowed.
        folder: has one subfolder for each class.
        counts: the official number of files by class name, in label order.
        suffixes: of the files.
        what: what the files are, for the message.

    Raises:
        SourceError: a class has fewer files than `counts` says (unless a partial set is allowed), or all are empty.
    """
    ranked: list[tuple[int, Piece]] = []
    for label, (name, expected) in enumerate(counts.items()):
        where = folder / name
        paths = files_here(where, suffixes) if where.is_dir() else []
        if not (request.allow_partial and not paths):
            check_complete(request, where, len(paths), expected, what)
            ranked += [(rank, Piece(path, label)) for rank, path in enumerate(part_of(paths, request.part))]
    if not ranked:
        raise SourceError(f"{request.name}: no {what} in {folder}")
    return [piece for _, piece in sorted(ranked, key=lambda r: (r[0], r[1].label))]


def read_square(path: Path, size: int, fit: PictureFit = "cut", channels: int = 3) -> NDArray[np.uint8]:
    """The picture as uint8 [channels, size, size], see `read_picture`.

    Raises:
        SourceError: the file is damaged or no picture; the text names it.
    """
    try:
        return read_picture(path, (channels, size, size), fit)
    except SourceError as error:
        raise SourceError(f"{path}: {error}: replace the file") from None


def _list_pieces(request: Request) -> Sequence[Piece]:
    counts = COUNTS if request.name == "caltech101" else {name: COUNTS[name] for name in CLASSES_10}
    return list_class_files(request, find_folder(request, FOLDER), counts, SUFFIXES, "pictures")


def _decode(piece: Piece, request: Request) -> Split:
    return single(read_square(piece.path, request.size, request.fit), piece.label)


def _describe(name: str, classes: tuple[str, ...]) -> DatasetInfo:
    return DatasetInfo(
        name=name,
        kind="static",
        classes=classes,
        channels=3,
        size=SIZE,
        recordings=recordings([COUNTS[c] for c in classes]),
        split_note="ours: of each class, sorted by file name, the last fifth (rounded down) is test",
        layout=f"{FOLDER}/<class>/image_NNNN.jpg, {len(classes)} classes, {sum(COUNTS[c] for c in classes):,} pictures",
        how_to_get="unpack caltech-101.zip, then 101_ObjectCategories.tar.gz in it, from data.caltech.edu into DIR",
        licence="CC BY 4.0, Fei-Fei, Fergus, Perona, doi 10.22002/D1.20086",
        list_pieces=_list_pieces,
        decode=_decode,
        urls=("https://data.caltech.edu/records/mzrjq-6wc02",),
    )


CALTECH101 = _describe("caltech101", CLASSES)
CALTECH10 = _describe("caltech10", CLASSES_10)
