from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.testbed.fitting import lowest, pair_accuracy, with_qualities
from benchmarks.testbed.picture_files import decode, encode
from benchmarks.testbed.plain_export import write_plain
from benchmarks.testbed.plain_network import FLOAT, INT8, PlainNetwork
from benchmarks.testbed.plan import ALTERNATIVES
from benchmarks.testbed.schema import FittedFile
from shared.bundle import Bundle
from training.data import Samples, bundle_data

CHECKOUT = Path(__file__).resolve().parents[4]
PICTURES = 60


@pytest.fixture(scope="module")
def held_out() -> Samples:
    found = bundle_data(Bundle.open(CHECKOUT / "models/resnet18-digits"), None).held_out
    return Samples(found.frames[:PICTURES], found.labels[:PICTURES])


@pytest.mark.parametrize(("wanted", "quality"), [(0.0, 1), (0.305, 31), (0.95, 95)])
def test_the_lowest_quality_that_is_good_enough_is_found(wanted: float, quality: int) -> None:
    asked: list[int] = []

    def score(at: int) -> float:
        asked.append(at)
        return at / 100

    assert lowest(range(1, 96), score, wanted) == (quality, quality / 100)
    assert len(asked) <= 9


def test_where_none_is_good_enough_the_best_is_taken_and_says_so() -> None:
    assert lowest(range(1, 96), lambda quality: 0.5, 0.9) == (95, 0.5)


def test_the_plain_network_is_as_accurate_as_the_pair_it_was_made_from(held_out: Samples, tmp_path: Path) -> None:
    write_plain(Bundle.open(CHECKOUT / "benchmarks/uncompressed/resnet18-digits"), held_out.frames.numpy(), tmp_path)
    pair = pair_accuracy(Bundle.open(CHECKOUT / "models/resnet18-digits"), held_out)
    assert pair > 0.9
    for graph in (FLOAT, INT8):
        network = PlainNetwork(tmp_path / graph)
        answers = [network.classify(picture) for picture in held_out.frames.numpy()]
        assert all(answer.sum() == pytest.approx(1.0, abs=1e-4) for answer in answers)
        right = np.mean([a.argmax() == label for a, label in zip(answers, held_out.labels.tolist(), strict=True)])
        assert right >= pair - 0.05
    assert (tmp_path / INT8).stat().st_size < 0.5 * (tmp_path / FLOAT).stat().st_size


def test_an_alternative_that_asks_for_it_gets_the_quality_that_was_fitted() -> None:
    found = with_qualities(ALTERNATIVES, [FittedFile("avif", 33, 0.9, 0.9, 10), FittedFile("webp", 40, 0.9, 0.9, 10),
                                          FittedFile("jpeg", 50, 0.9, 0.9, 10)])  # fmt: skip
    qualities = {each.name: each.quality for each in found}
    assert (qualities["avif-equal"], qualities["http-webp"], qualities["jpeg-equal"]) == (33, 40, 50)
    assert qualities["jpeg-90"] == 90
    assert next(each for each in found if each.name == "avif-equal").title.endswith("AVIF of equal accuracy, q33")


def test_avif_files_decode_to_their_picture_and_grow_with_quality() -> None:
    rows, columns = np.mgrid[0:32, 0:32]
    picture = np.stack([rows * 8, columns * 8, (rows + columns) * 4]).astype(np.uint8)
    small, large = (encode(picture, "avif", quality) for quality in (10, 90))
    assert len(small) < len(large)
    assert np.abs(decode(large, "avif", picture.shape).astype(int) - picture).mean() < 4
