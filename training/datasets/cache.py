"""Decoded parts of data sets kept as .npz, for sets whose files take long to decode (Caltech-101, event recordings)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from shared.datasets import Request, Split, list_pieces, stream
from shared.datasets.base import concatenate
from shared.datasets.registry import Progress

READERS_VERSION = 1
"""Raise it when a reader gives other frames for the same files: old cache files are then left alone."""


def load_split_cached(request: Request, folder: Path, progress: Progress | None = None) -> Split:
    """As `concatenate(stream(request))`, read from `folder` where an earlier call left it, and left there otherwise.

    The file's name holds the request and a digest of the names, sizes and times of the set's files: when they change,
    they are decoded anew. A damaged cache file is written again.

    Raises:
        SourceError: as `stream`.
    """
    path = folder / f"{request.name}-{request.part}-{request.size}-T{request.timesteps}-{_digest(request)}.npz"
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as stored:
                return Split(stored["frames"], stored["labels"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            path.unlink()
    split = concatenate(list(stream(request, progress)))
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.npz")
    np.savez(partial, frames=split.frames, labels=split.labels)
    partial.replace(path)  # whoever reads at the same time sees a whole file or none
    return split


def _digest(request: Request) -> str:
    digest = hashlib.sha256(f"{READERS_VERSION} {request.binning} {request.allow_partial}".encode())
    for piece in list_pieces(request):
        status = piece.path.stat()
        digest.update(f"{piece.path.name} {piece.label} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
