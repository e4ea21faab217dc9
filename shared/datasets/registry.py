"""Every data set by name. A set can be read in one part, in both parts, or file by file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from shared.binning import Binning
from shared.datasets.base import (
    DEFAULT_TIMESTEPS,
    DataSet,
    DatasetInfo,
    OnProgress,
    Part,
    Piece,
    Request,
    Split,
    concatenate,
)
from shared.datasets.caltech101 import CALTECH10, CALTECH101
from shared.datasets.cifar10 import CIFAR10
from shared.datasets.digits import DIGITS
from shared.datasets.event_sets import CIFAR10DVS, NCALTECH101, NMNIST
from shared.datasets.simulated import CIFAR10_I2E, CIFAR10DVS_SIM, DIGITS_I2E, NCALTECH101_SIM
from shared.errors import SourceError
from shared.manifest import Manifest
from shared.picture_fit import PictureFit

DATASETS: Mapping[str, DatasetInfo] = MappingProxyType(
    {
        known.name: known
        for known in (
            DIGITS,
            CIFAR10,
            CALTECH101,
            CALTECH10,
            NMNIST,
            CIFAR10DVS,
            NCALTECH101,
            CIFAR10DVS_SIM,
            NCALTECH101_SIM,
            CIFAR10_I2E,
            DIGITS_I2E,
        )
    }
)


def info(name: str) -> DatasetInfo:
    """The set called `name`.

    Raises:
        SourceError: there is none; the message lists those there are.
    """
    try:
        return DATASETS[name]
    except KeyError:
        raise SourceError(f"no data set called {name!r}: known are {', '.join(DATASETS)}") from None


def make_request(
    name: str,
    root: Path | None,
    part: Part,
    *,
    size: int | None = None,
    timesteps: int | None = None,
    binning: Binning = "count",
    allow_partial: bool = False,
    fit: PictureFit = "cut",
) -> Request:
    """The arguments of `stream`, with the set's defaults filled in. Arguments as `load_split`.

    Raises:
        SourceError: unknown name, no data folder, or a size or number of timesteps below 1.
    """
    known = info(name)
    if known.needs_root and root is None:
        raise SourceError(f"{name}: say where it is with --data DIR, which should hold {known.layout}")
    size = known.size if size is None else size
    timesteps = DEFAULT_TIMESTEPS if timesteps is None else timesteps
    if size < 1 or timesteps < 1:
        raise SourceError(f"{name}: size {size} and timesteps {timesteps} must both be at least 1")
    return Request(name, root or Path(), part, size, timesteps, binning, allow_partial, fit)


def request_for(
    manifest: Manifest,
    name: str,
    root: Path | None,
    part: Part,
    *,
    binning: Binning = "count",
    allow_partial: bool = False,
) -> Request:
    """One part of a set in the size, the timesteps and the fit of a bundle. Arguments and errors as `load_split`."""
    spec = manifest.network
    return make_request(
        name,
        root,
        part,
        size=spec.input_shape[1],
        timesteps=spec.timesteps,
        binning=binning,
        allow_partial=allow_partial,
        fit=manifest.fit,
    )


def list_pieces(request: Request) -> Sequence[Piece]:
    """The files of the part asked for, none of them opened.

    Raises:
        SourceError: files are missing: which, where they are expected, and how to get them.
    """
    known = info(request.name)
    try:
        return known.list_pieces(request)
    except SourceError as error:
        raise SourceError(f"{error}; expected: {known.layout}; to get it: {known.how_to_get}") from None


def stream(request: Request, progress: OnProgress | None = None) -> Iterator[Split]:
    """Decode one part lazily, file by file, in the set's own order; each Split has one sample or many.

    Raises:
        SourceError: files missing (which, where, how to get them), or a damaged file (named).
    """
    pieces = list_pieces(request)
    for done, piece in enumerate(pieces, 1):
        yield info(request.name).decode(piece, request)
        if progress is not None:
            progress(done, len(pieces))


def load_split(
    name: str,
    root: Path | None,
    part: Part,
    *,
    size: int | None = None,
    timesteps: int | None = None,
    binning: Binning = "count",
    allow_partial: bool = False,
    fit: PictureFit = "cut",
    progress: OnProgress | None = None,
) -> Split:
    """One part in memory; the other part is neither opened nor decoded.

    Args:
        name: a key of `DATASETS`.
        root: the folder that contains the set's folder, or that folder itself; None for a set inside the package.
        part: "train" or "test".
        size: side of the square samples in pixels; None for the set's own.
        timesteps: frames an event recording is binned into; None for `DEFAULT_TIMESTEPS`; pictures ignore it.
        binning: frames of equal event count, or of equal time; pictures ignore it.
        allow_partial: read the files that are there even if the publisher's set has more.
        fit: how pictures become square; recordings ignore it.
        progress: called after each file.

    Raises:
        SourceError: unknown name, files missing (which, where, how to get them), or a damaged file (named).
    """
    request = make_request(
        name, root, part, size=size, timesteps=timesteps, binning=binning, allow_partial=allow_partial, fit=fit
    )
    return read(request, progress)


def read(request: Request, progress: OnProgress | None = None) -> Split:
    """What was asked for, in memory. Errors as `stream`."""
    return concatenate(list(stream(request, progress)))


def load(
    name: str,
    root: Path | None = None,
    *,
    size: int | None = None,
    timesteps: int | None = None,
    binning: Binning = "count",
    allow_partial: bool = False,
    progress: OnProgress | None = None,
) -> DataSet:
    """Both parts in memory. Arguments and errors as `load_split`."""
    known = info(name)

    def read(part: Part) -> Split:
        return load_split(
            name,
            root,
            part,
            size=size,
            timesteps=timesteps,
            binning=binning,
            allow_partial=allow_partial,
            progress=progress,
        )

    return DataSet(name, known.classes, read("train"), read("test"), known.simulated, known.split_note)
