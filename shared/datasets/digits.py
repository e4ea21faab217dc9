"""scikit-learn's digits, carried inside the package: the set that needs no download and no scikit-learn.

1,797 scans of handwritten digits, 8 x 8 pixels of 0..16: the test part of "Optical Recognition of Handwritten Digits",
E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, doi 10.24432/C50P49, CC BY 4.0. `digits.npz` was written by

    python -c "from shared.datasets.digits import write_npz; write_npz()"

which needs scikit-learn; a test compares the file with its load_digits().
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.datasets.base import DatasetInfo, Piece, Request, Split

FILE = Path(__file__).with_name("digits.npz")
TEST_EVERY = 5


def bilinear_matrix(source: int, target: int) -> NDArray[np.float64]:
    """Weights [target, source] that resize one axis by bilinear interpolation, pixel centres at half-integers.

    For 8 to 32 every weight is a multiple of 1/8, so the result is exact on any machine.
    """
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    lower = np.minimum(centre.astype(np.int64), max(source - 2, 0))
    weights = np.zeros((target, source))
    rows = np.arange(target)
    weights[rows, lower] = 1 - (centre - lower)
    weights[rows, np.minimum(lower + 1, source - 1)] += centre - lower
    return weights


def is_test(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Bool [N]: every fifth scan in the order (class, position) is for testing; no random numbers, so no versions."""
    test = np.zeros(len(labels), bool)
    test[np.argsort(labels, kind="stable")[::TEST_EVERY]] = True
    return test


def _list_pieces(_: Request) -> Sequence[Piece]:
    return [Piece(FILE)]


def _decode(piece: Piece, request: Request) -> Split:
    with np.load(piece.path) as stored:
        scans, labels = stored["images"], stored["labels"].astype(np.int64)
    chosen = is_test(labels) if request.part == "test" else ~is_test(labels)
    weights = bilinear_matrix(scans.shape[1], request.size)
    frames = np.rint(weights @ scans[chosen].astype(np.float64) @ weights.T * (255 / 16)).astype(np.uint8)
    return Split(frames[:, np.newaxis], labels[chosen])


DIGITS = DatasetInfo(
    name="digits",
    kind="static",
    classes=tuple("0123456789"),
    channels=1,
    size=32,
    recordings=(1437, 360),
    split_note="ours: sorted by (class, position), every fifth scan is test; writers appear in both parts",
    layout="nothing: the scans are part of the package",
    how_to_get="already here",
    licence="CC BY 4.0, E. Alpaydin and C. Kaynak, doi 10.24432/C50P49",
    list_pieces=_list_pieces,
    decode=_decode,
    urls=("https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",),
    needs_root=False,
)


def write_npz(path: Path = FILE) -> None:
    """Write scikit-learn's scans as uint8 `images` [1797, 8, 8] (0..16) and `labels` [1797]; needs scikit-learn."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - only to build the file, never to read it

    digits = load_digits()
    np.savez_compressed(path, images=digits.images.astype(np.uint8), labels=digits.target.astype(np.uint8))
