"""Recorded event sets: folders of one recording a file, named by class."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from shared.datasets import caltech101
from shared.datasets.base import DatasetInfo, Piece, Request, Split, check_complete, find_folder, single
from shared.datasets.cifar10 import CLASSES as CIFAR10_CLASSES
from shared.datasets.event_collector import make_events
from shared.datasets.event_files import read_recording
from shared.datasets.event_type import Events
from shared.datasets.events import bin_events, extent
from shared.errors import SourceError
from shared.folders import files_here

log = logging.getLogger(__name__)

BIN = frozenset({".bin"})
AEDAT = frozenset({".aedat", ".aedat4"})
NMNIST_COUNTS = {"train": 60_000, "test": 10_000}
NMNIST_SENSOR = (34, 34)
CIFAR10DVS_SENSOR = (128, 128)
CIFAR10DVS_PER_CLASS = 1000
CIFAR10DVS_TEST_BELOW = 100


def _events(piece: Piece) -> Events:
    recording = read_recording(piece.path)
    for note in recording.notes:
        log.warning("%s: %s", piece.path, note)
    if not len(recording.events):
        raise SourceError(f"{piece.path}: it holds no events: replace the file")
    return recording.events


def _frames(events: Events, sensor: tuple[int, int], piece: Piece, request: Request) -> Split:
    try:
        frames = bin_events(events, request.timesteps, sensor, size=request.size, by=request.binning)
    except SourceError as error:
        raise SourceError(f"{piece.path}: damaged, {error}: replace the file") from None
    return single(frames, piece.label)


def _list_nmnist(request: Request) -> Sequence[Piece]:
    folder = find_folder(request, "N-MNIST", "NMNIST") / request.part.capitalize()
    pieces = [Piece(path, digit) for digit in range(10) for path in files_here(folder / str(digit), BIN)]
    check_complete(request, folder, len(pieces), NMNIST_COUNTS[request.part], "recordings")
    return sorted(pieces, key=lambda piece: (piece.path.name, piece.label))  # by position in MNIST: classes mixed


def _decode_nmnist(piece: Piece, request: Request) -> Split:
    return _frames(_events(piece), NMNIST_SENSOR, piece, request)


NMNIST = DatasetInfo(
    name="nmnist",
    kind="events",
    classes=tuple("0123456789"),
    channels=2,
    size=34,
    recordings=(60_000, 10_000),
    split_note="official: 60,000 train, 10,000 test",
    layout="N-MNIST/Train/<digit>/NNNNN.bin and N-MNIST/Test/<digit>/NNNNN.bin, 34 x 34 pixels",
    how_to_get="unpack Train.zip and Test.zip of the publisher into DIR/N-MNIST",
    licence="CC BY-SA 4.0, Orchard et al., Front. Neurosci. 9:437, 2015",
    list_pieces=_list_nmnist,
    decode=_decode_nmnist,
    urls=("https://www.garrickorchard.com/datasets/n-mnist", "https://data.mendeley.com/datasets/468j46mzdv/1"),
)

NCALTECH_COUNTS = dict(
    sorted(
        {
            caltech101.BACKGROUND: caltech101.BACKGROUND_COUNT,
            **{name: n for name, n in caltech101.COUNTS.items() if name != "Faces"},
        }.items()
    )
)


def _list_ncaltech(request: Request) -> Sequence[Piece]:
    folder = find_folder(request, "N-Caltech101", "Caltech101")
    return caltech101.list_class_files(request, folder, NCALTECH_COUNTS, BIN, "recordings")


def _decode_ncaltech(piece: Piece, request: Request) -> Split:
    events = _events(piece)
    # recordings are as large as their picture, and no file says how large: what the events reach is
    return _frames(events, extent(events), piece, request)


NCALTECH101 = DatasetInfo(
    name="ncaltech101",
    kind="events",
    classes=tuple(NCALTECH_COUNTS),
    channels=2,
    size=64,
    recordings=caltech101.recordings(list(NCALTECH_COUNTS.values())),
    split_note="ours: of each class, sorted by file name, the last fifth (rounded down) is test",
    layout="N-Caltech101/<class>/image_NNNN.bin, 101 classes (with BACKGROUND_Google, without Faces), 8,709 files",
    how_to_get="unpack Caltech101.zip of the publisher into DIR/N-Caltech101 (tonic's link to it has died)",
    licence="CC BY 4.0, Orchard et al., Front. Neurosci. 9:437, 2015",
    list_pieces=_list_ncaltech,
    decode=_decode_ncaltech,
    urls=("https://www.garrickorchard.com/datasets/n-caltech101", "https://data.mendeley.com/datasets/cy6cvx3ryv/1"),
)


def _list_cifar10dvs(request: Request) -> Sequence[Piece]:
    folder = find_folder(request, "CIFAR10-DVS", "CIFAR10DVS")
    numbered: list[tuple[int, int, Path]] = []
    for label, name in enumerate(CIFAR10_CLASSES):
        found = [(_number(path), label, path) for path in files_here(folder / name, AEDAT)]
        if found or not request.allow_partial:
            check_complete(request, folder / name, len(found), CIFAR10DVS_PER_CLASS, "recordings")
        numbered += found
    wants_test = request.part == "test"
    chosen = [item for item in sorted(numbered) if (item[0] < CIFAR10DVS_TEST_BELOW) == wants_test]
    if not chosen:
        raise SourceError(f"{request.name}: no {request.part} recordings in {folder}")
    return [Piece(path, label) for _, label, path in chosen]


def _number(path: Path) -> int:
    digits = path.stem.rpartition("_")[2]
    if not digits.isdecimal():
        raise SourceError(f"{path}: expected a name such as cifar10_airplane_17{path.suffix}, ending in its number")
    return int(digits)


def _decode_cifar10dvs(piece: Piece, request: Request) -> Split:
    events = _events(piece)
    if piece.path.suffix.lower() == ".aedat":
        # the camera lay on its side. Turned by 90 degrees the objects stand upright, and are not mirrored: seen on
        # the recording of airplane 0, whose picture is number 8537 of CIFAR-10's test part (docs/datasets.md)
        turned = CIFAR10DVS_SENSOR[0] - 1 - events["y"].astype(int)
        events = make_events(turned, events["x"], events["polarity"], events["t"])
    return _frames(events, CIFAR10DVS_SENSOR, piece, request)


CIFAR10DVS = DatasetInfo(
    name="cifar10dvs",
    kind="events",
    classes=CIFAR10_CLASSES,
    channels=2,
    size=128,
    recordings=(9_000, 1_000),
    split_note="ours (there is no official one): files 0-99 of each class are test, 100-999 train",
    layout="CIFAR10-DVS/<class>/cifar10_<class>_N.aedat (or .aedat4), N = 0..999, 128 x 128 pixels",
    how_to_get="unpack the ten zip files of the publisher into DIR/CIFAR10-DVS (.aedat4 needs the package aedat)",
    licence="CC BY 4.0, Li et al., Front. Neurosci. 11:309, 2017",
    list_pieces=_list_cifar10dvs,
    decode=_decode_cifar10dvs,
    urls=("https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",),
)
