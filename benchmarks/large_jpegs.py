"""What it costs in accuracy that a large JPEG is decoded at a part of its size: the same photographs read both ways.

The photographs are Caltech-101's test part, enlarged and saved as JPEG. A network that was trained on other pictures
knows few of their classes: what counts is how many answers change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL.Image import Resampling

from benchmarks.record import Findings, Goal
from shared.bundle import Bundle
from shared.datasets.base import Piece, Pixels
from shared.datasets.caltech101 import CLASSES
from shared.datasets.registry import list_pieces, request_for
from shared.errors import ConfigError
from shared.manifest import Manifest
from shared.pictures import from_image, open_picture, read_picture
from training.collect_spikes import bundle_spikes, cloud_answers

SAME = {
    "airplanes": "airplane", "car_side": "automobile", "ferry": "ship", "ketch": "ship", "schooner": "ship",
    "dalmatian": "dog", "wild_cat": "cat", "emu": "bird", "flamingo": "bird", "ibis": "bird", "pigeon": "bird",
    "rooster": "bird",
}  # fmt: skip
"""Caltech-101's classes that CIFAR-10 has too."""

ENLARGED = 4
"""Times: the shorter side is then some 512 pixels, of which the network takes 32."""

QUALITY = 90
LEAST_AGREEMENT = 0.99


def measure(bundle: Path, data: Path, quick: bool) -> Findings:
    """Answers at the last timestep to the pictures as they are read, and to the same ones decoded whole.

    Raises:
        SourceError: the pictures are missing.
        ConfigError: the bundle does not take them.
    """
    opened = Bundle.open(bundle)
    manifest = opened.manifest
    spec = manifest.network
    if spec.input_kind != "static":
        raise ConfigError(f"bundle {bundle} takes events: name one of pictures with --bundle")
    pieces = list_pieces(request_for(manifest, "caltech101", data, "test", allow_partial=True))[: 20 if quick else None]
    reduced, whole = (np.stack(read) for read in zip(*_both_ways(pieces, manifest), strict=True))
    differ = (reduced != whole).any(axis=(1, 2, 3))
    answers = {
        name: cloud_answers(opened, bundle_spikes(opened, frames))
        for name, frames in (("reduced", reduced), ("whole", whole))
    }
    wanted = [SAME.get(CLASSES[piece.label]) for piece in pieces]
    known = sum(name is not None for name in wanted)
    accuracy = {
        name: _share(sum(manifest.class_names[answer] == its for answer, its in zip(found, wanted, strict=True)), known)
        for name, found in answers.items()
    }
    agreement = _share(int((answers["reduced"] == answers["whole"]).sum()), len(pieces))
    return Findings(
        n={"pictures": len(pieces), "decoded at a part of their size": int(differ.sum()), "with a class": known},
        results={
            "bundle": manifest.name,
            "same answer": agreement,
            "accuracy of those with a class": accuracy,
            "mean difference of a pixel, of 255": round(float(np.abs(reduced.astype(int) - whole).mean()), 3),
        },
        targets=[Goal("same answer as to the picture decoded whole", LEAST_AGREEMENT, agreement, "share", "higher")],
    )


def _both_ways(pieces: Sequence[Piece], manifest: Manifest) -> Iterator[tuple[Pixels, Pixels]]:
    """Each photograph from a large JPEG file, decoded at a part of its size and decoded whole."""
    shape = manifest.network.input_shape
    with TemporaryDirectory() as folder:
        file = Path(folder, "large.jpg")
        for piece in pieces:
            photograph = open_picture(piece.path)
            size = photograph.width * ENLARGED, photograph.height * ENLARGED
            photograph.resize(size, Resampling.BICUBIC).save(file, quality=QUALITY)
            yield read_picture(file, shape, manifest.fit), from_image(open_picture(file), shape, manifest.fit)


def _share(part: int, whole: int) -> float:
    return round(part / max(whole, 1), 4)
