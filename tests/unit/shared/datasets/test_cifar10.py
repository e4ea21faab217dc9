from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.datasets import load_split
from shared.datasets.cifar10 import FOLDER, RECORD_BYTES, RECORDS
from shared.errors import SourceError


def write_batch(path: Path) -> np.ndarray:
    records = np.zeros((RECORDS, RECORD_BYTES), np.uint8)
    records[:, 0] = np.arange(RECORDS) % 10
    records[:, 1:] = np.random.default_rng(0).integers(0, 256, RECORD_BYTES - 1)
    records.tofile(path)
    return records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / FOLDER
    folder.mkdir()
    return folder


def test_reads_planes_and_labels(folder: Path) -> None:
    records = write_batch(folder / "test_batch.bin")
    split = load_split("cifar10", folder.parent, "test")
    assert split.frames.shape == (RECORDS, 3, 32, 32)
    np.testing.assert_array_equal(split.labels[:12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    np.testing.assert_array_equal(split.frames[3, 1, 0], records[3, 1 + 1024 : 1 + 1024 + 32])  # green, first row


def test_root_may_be_the_folder_itself(folder: Path) -> None:
    write_batch(folder / "test_batch.bin")
    assert len(load_split("cifar10", folder, "test")) == RECORDS


def test_missing_set_says_what_is_expected_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"test_batch\.bin.*neucodex-train data download cifar10") as caught:
        load_split("cifar10", tmp_path, "test")
    assert "\n" not in str(caught.value)


def test_missing_batches_are_counted(folder: Path) -> None:
    write_batch(folder / "data_batch_1.bin")
    with pytest.raises(SourceError, match="1 of 5 batches"):
        load_split("cifar10", folder, "train")
    assert len(load_split("cifar10", folder, "train", allow_partial=True)) == RECORDS


def test_truncated_batch_is_named(folder: Path) -> None:
    (folder / "test_batch.bin").write_bytes(b"\0" * 100)
    with pytest.raises(SourceError, match=r"test_batch\.bin: damaged, 100 bytes instead of 30730000"):
        load_split("cifar10", folder, "test")


def test_impossible_label_is_named(folder: Path) -> None:
    records = write_batch(folder / "test_batch.bin")
    records[17, 0] = 10
    records.tofile(folder / "test_batch.bin")
    with pytest.raises(SourceError, match="record 17 has label 10"):
        load_split("cifar10", folder, "test")


def test_another_size_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="size 64"):
        load_split("cifar10", folder, "test", size=64)
