"""The types that describe data sets: a request, a set, and the samples that are read.

numpy only: the edge classifies data sets too, and must not need torch or 441 MB of readers for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared.binning import Binning
from shared.errors import SourceError
from shared.network_spec import InputKind
from shared.picture_fit import PictureFit

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Part = Literal["train", "test"]

OnProgress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""

DEFAULT_TIMESTEPS = 10
"""The default number of frames that an event recording is binned into."""


@dataclass(frozen=True)
class Split:
    """Samples and their classes.

    `frames` is uint8: pictures [N, C, H, W], or event counts [N, T, 2, H, W] (channel 0 ON, 1 OFF) saturating at 255.
    `labels` is int64 [N], an index into the set's `classes`.
    """

    frames: Pixels
    labels: Labels

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.labels):
            raise SourceError(f"{len(self.frames)} samples but {len(self.labels)} labels: they must be as many")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DataSet:
    """Both parts of one set. `simulated` is true when no camera recorded the events: say so beside every figure."""

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    simulated: bool
    split_note: str


@dataclass(frozen=True)
class Request:
    """A request to a reader.

    `size` is the side of the square samples in pixels; `timesteps` and `binning` are for events, `fit` for pictures.
    """

    name: str
    root: Path
    part: Part
    size: int
    timesteps: int
    binning: Binning = "count"
    allow_partial: bool = False
    fit: PictureFit = "cut"


@dataclass(frozen=True)
class Piece:
    """One file to decode; `label` if the file is one sample and its folder names the class."""

    path: Path
    label: int = -1


@dataclass(frozen=True)
class DatasetInfo:
    """Describes a set before it is read, and has the two functions that read it.

    `list_pieces` finds the files of the part asked for and raises SourceError when some are missing;
    `decode` turns one of them into a Split and raises SourceError, naming the file, when it is damaged.
    `recordings` is the official number of samples (train, test); `layout` describes the files below the data folder.
    """

    name: str
    kind: InputKind
    classes: tuple[str, ...]
    channels: int
    size: int
    recordings: tuple[int, int]
    split_note: str
    layout: str
    how_to_get: str
    licence: str
    list_pieces: Callable[[Request], Sequence[Piece]]
    decode: Callable[[Piece, Request], Split]
    urls: tuple[str, ...] = ()
    md5: str | None = None
    simulated: bool = False
    needs_root: bool = True


def find_folder(request: Request, *names: str) -> Path:
    """The folder of a set: one called `names[i]` below the root, or the root itself if it has one of these names.

    Raises:
        SourceError: neither is there.
    """
    root = request.root
    if root.resolve().name in names and root.is_dir():
        return root
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise SourceError(f"{request.name}: no folder {' or '.join(names)} in {root}")


def check_complete(request: Request, where: Path, found: int, expected: int, what: str) -> None:
    """Refuse a set with fewer files than the publisher's, unless a partial one was allowed.

    Args:
        request: says whether a partial set is allowed.
        where: the folder, for the message.
        found: how many files are there.
        expected: how many the publisher's set has.
        what: what the files are, for the message.

    Raises:
        SourceError: nothing is there, or fewer than `expected` and `allow_partial` is not set.
    """
    if found == 0:
        raise SourceError(f"{request.name}: no {what} in {where}, expected {expected}")
    if found < expected and not request.allow_partial:
        raise SourceError(
            f"{request.name}: {found} of {expected} {what} in {where}: complete the set, or allow a partial one"
        )


def single(frames: NDArray[Any], label: int) -> Split:
    """A Split of one sample from its uint8 frames without the batch axis."""
    return Split(frames[np.newaxis], np.array([label], np.int64))


def concatenate(splits: Sequence[Split]) -> Split:
    """Join splits of equally shaped samples in order."""
    return Split(np.concatenate([s.frames for s in splits]), np.concatenate([s.labels for s in splits]))
