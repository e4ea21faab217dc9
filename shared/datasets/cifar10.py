"""CIFAR-10 from its official binary version: six batches of 10,000 records of one label and 3 x 32 x 32 bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.datasets.base import DatasetInfo, Piece, Request, Split, check_complete, find_folder
from shared.errors import SourceError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-bin"
SIZE = 32
RECORD_BYTES = 1 + 3 * SIZE * SIZE
RECORDS = 10_000
BATCHES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}


def _list_pieces(request: Request) -> Sequence[Piece]:
    if request.size != SIZE:
        raise SourceError(f"{request.name}: size {request.size} was asked for, its pictures are {SIZE} x {SIZE}")
    folder = find_folder(request, FOLDER)
    names = BATCHES[request.part]
    found = [folder / name for name in names if (folder / name).is_file()]
    check_complete(request, folder, len(found), len(names), f"batches ({', '.join(names)})")
    return [Piece(path) for path in found]


def _decode(piece: Piece, _: Request) -> Split:
    raw = np.fromfile(piece.path, np.uint8)
    if raw.size != RECORDS * RECORD_BYTES:
        raise SourceError(
            f"{piece.path}: damaged, {raw.size} bytes instead of {RECORDS * RECORD_BYTES}: download CIFAR-10 again"
        )
    records = raw.reshape(RECORDS, RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= len(CLASSES):
        row = int(labels.argmax())
        raise SourceError(f"{piece.path}: damaged, record {row} has label {labels[row]}: download CIFAR-10 again")
    return Split(records[:, 1:].reshape(RECORDS, 3, SIZE, SIZE), labels)


CIFAR10 = DatasetInfo(
    name="cifar10",
    kind="static",
    classes=CLASSES,
    channels=3,
    size=SIZE,
    recordings=(50_000, 10_000),
    split_note="official: 50,000 train, 10,000 test",
    layout=f"{FOLDER}/data_batch_1.bin .. data_batch_5.bin, test_batch.bin (30,730,000 bytes each)",
    how_to_get="neucodex-train data download cifar10 --data DIR",
    licence="free for research, no explicit licence; A. Krizhevsky, Learning Multiple Layers of Features, 2009",
    list_pieces=_list_pieces,
    decode=_decode,
    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    md5="c32a1d4ab5d03f1284b67883e8d87530",
)
