from __future__ import annotations

import numpy as np
import pytest

from shared.datasets import load
from shared.datasets.digits import FILE, bilinear_matrix, is_test


def test_embedded_scans_are_scikit_learns() -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    with np.load(FILE) as stored:
        np.testing.assert_array_equal(stored["images"], digits.images)
        np.testing.assert_array_equal(stored["labels"], digits.target)


def test_split_is_stratified_and_complete() -> None:
    digits = load("digits")
    assert digits.train.frames.shape == (1437, 1, 32, 32)
    assert digits.test.frames.shape == (360, 1, 32, 32)
    assert digits.train.frames.dtype == np.uint8
    assert digits.test.labels.dtype == np.int64
    counts = np.bincount(digits.test.labels)
    assert counts.min() >= 34
    assert counts.max() <= 37
    assert not digits.simulated


def test_split_does_not_depend_on_random_numbers() -> None:
    labels = np.array([1, 0, 1, 0, 0, 0, 0, 1])
    # in the order (class, position): 1 3 4 5 6 | 0 2 7, of which places 0 and 5 are for testing
    assert np.flatnonzero(is_test(labels)).tolist() == [0, 1]


def test_scans_are_enlarged_to_the_full_range() -> None:
    train = load("digits").train
    assert train.frames.max() == 255
    assert train.frames.min() == 0
    assert load("digits", size=8).test.frames.shape == (360, 1, 8, 8)


def test_native_size_keeps_the_scan() -> None:
    with np.load(FILE) as stored:
        expected = np.rint(stored["images"][is_test(stored["labels"].astype(np.int64))] * (255 / 16))
    np.testing.assert_array_equal(load("digits", size=8).test.frames[:, 0], expected)


def test_bilinear_weights() -> None:
    weights = bilinear_matrix(2, 4)
    np.testing.assert_array_equal(weights, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_array_equal(bilinear_matrix(5, 5), np.eye(5))
    np.testing.assert_allclose(bilinear_matrix(8, 30).sum(axis=1), 1)
    np.testing.assert_array_equal(bilinear_matrix(1, 3), np.ones((3, 1)))
