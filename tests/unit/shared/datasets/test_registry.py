from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.datasets import DATASETS, Split, info, load_split, make_request, stream
from shared.errors import SourceError


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SourceError, match=r"'mnist'.*digits, cifar10, caltech101"):
        info("mnist")


@pytest.mark.parametrize("name", [name for name, known in DATASETS.items() if known.needs_root])
def test_every_missing_set_says_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        load_split(name, tmp_path, "test")
    message = str(caught.value)
    assert str(tmp_path) in message
    assert DATASETS[name].layout in message
    assert DATASETS[name].how_to_get in message
    with pytest.raises(SourceError, match="--data DIR"):
        load_split(name, None, "test")


def test_known_numbers() -> None:
    sizes = {name: (len(known.classes), sum(known.recordings)) for name, known in DATASETS.items()}
    assert sizes == {
        "digits": (10, 1797),
        "cifar10": (10, 60_000),
        "caltech101": (101, 8677),
        "caltech10": (10, 3379),
        "nmnist": (10, 70_000),
        "cifar10dvs": (10, 10_000),
        "ncaltech101": (101, 8709),
        "cifar10dvs-sim": (10, 10_000),
        "ncaltech101-sim": (101, 8677),
        "cifar10-i2e": (10, 60_000),
        "digits-i2e": (10, 1_797),
    }
    simulated = ["cifar10dvs-sim", "ncaltech101-sim", "cifar10-i2e", "digits-i2e"]
    assert [name for name, known in DATASETS.items() if known.simulated] == simulated
    assert all(len(set(known.classes)) == len(known.classes) for known in DATASETS.values())


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(SourceError, match="at least 1"):
        make_request("digits", None, "test", size=0)


def test_streaming_reports_progress() -> None:
    seen: list[tuple[int, int]] = []
    splits = list(stream(make_request("digits", None, "test"), lambda done, total: seen.append((done, total))))
    assert [len(split) for split in splits] == [360]
    assert seen == [(1, 1)]


def test_a_split_has_as_many_labels_as_samples() -> None:
    with pytest.raises(SourceError, match="2 samples but 3 labels"):
        Split(np.zeros((2, 1, 1, 1), np.uint8), np.zeros(3, np.int64))
