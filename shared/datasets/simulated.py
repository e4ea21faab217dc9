"""Frames of simulated events, as `neucodex-train data simulate` writes them: for sets whose recordings are not at hand.

No camera recorded them. `DatasetInfo.simulated` and `DataSet.simulated` say so, and every figure from them must too.
A file contains one part at one size and number of timesteps: <name>/<part>_<size>x<size>_T<timesteps>_<binning>.npz
with uint8 `frames` [N, T, 2, size, size] and uint8 `labels` [N].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.binning import Binning
from shared.datasets import caltech101
from shared.datasets.base import DatasetInfo, Part, Piece, Request, Split, check_complete, find_folder
from shared.datasets.cifar10 import CIFAR10
from shared.datasets.cifar10 import CLASSES as CIFAR10_CLASSES
from shared.datasets.digits import DIGITS
from shared.errors import SourceError

RECORDINGS: dict[str, dict[Part, int]] = {
    "cifar10dvs-sim": {"train": 9_000, "test": 1_000},
    "ncaltech101-sim": dict(zip(("train", "test"), caltech101.CALTECH101.recordings, strict=True)),
    "cifar10-i2e": dict(zip(("train", "test"), CIFAR10.recordings, strict=True)),
    "digits-i2e": dict(zip(("train", "test"), DIGITS.recordings, strict=True)),
}
"""As many of CIFAR-10's pictures as CIFAR10-DVS has, the first of each class; of the others all pictures."""


def file_name(part: Part, size: int, timesteps: int, binning: Binning) -> str:
    """The name of the file with one part.

    Args:
        part: "train" or "test".
        size: side of the frames in pixels.
        timesteps: frames of a recording.
        binning: how events were binned.
    """
    return f"{part}_{size}x{size}_T{timesteps}_{binning}.npz"


def _list_pieces(request: Request) -> Sequence[Piece]:
    folder = find_folder(request, request.name)
    path = folder / file_name(request.part, request.size, request.timesteps, request.binning)
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in folder.glob("*.npz"))) or "nothing"
        raise SourceError(f"{request.name}: no {path.name} in {folder}, which holds {there}")
    return [Piece(path)]


def _decode(piece: Piece, request: Request) -> Split:
    try:
        with np.load(piece.path, allow_pickle=False) as stored:
            frames, labels = stored["frames"], stored["labels"].astype(np.int64)
    except Exception as error:  # a damaged file makes zipfile, its decompressors and numpy raise nearly anything
        raise SourceError(f"{piece.path}: damaged ({error}): simulate it again") from None
    check_complete(request, piece.path, len(labels), RECORDINGS[request.name][request.part], "recordings")
    expected = (len(labels), request.timesteps, 2, request.size, request.size)
    if frames.dtype != np.uint8 or frames.shape != expected:
        raise SourceError(
            f"{piece.path}: damaged, frames are {frames.dtype} {frames.shape} instead of uint8 {expected}"
        )
    return Split(frames, labels)


def _describe(name: str, source: str, classes: tuple[str, ...], size: int) -> DatasetInfo:
    return DatasetInfo(
        name=name,
        kind="events",
        classes=classes,
        channels=2,
        size=size,
        recordings=(RECORDINGS[name]["train"], RECORDINGS[name]["test"]),
        split_note=f"SIMULATED from {source}'s pictures; its train and test parts are kept",
        layout=f"{name}/<part>_<size>x<size>_T<timesteps>_<binning>.npz",
        how_to_get=f"neucodex-train data simulate {name} --data DIR --out DIR (needs {source})",
        licence=f"as {source}",
        list_pieces=_list_pieces,
        decode=_decode,
        simulated=True,
    )


CIFAR10DVS_SIM = _describe("cifar10dvs-sim", "cifar10", CIFAR10_CLASSES, 64)
NCALTECH101_SIM = _describe("ncaltech101-sim", "caltech101", caltech101.CLASSES, 64)
CIFAR10_I2E = _describe("cifar10-i2e", "cifar10", CIFAR10_CLASSES, 32)
DIGITS_I2E = _describe("digits-i2e", "digits", DIGITS.classes, 34)
