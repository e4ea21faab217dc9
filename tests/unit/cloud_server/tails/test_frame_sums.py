"""Sums of frames: a row is one sample's, whoever had it before."""

from __future__ import annotations

import numpy as np
import pytest

from cloud_server.tails.frame_sums import FrameSumSlots, Sums

COUNT = 5
SHAPE = (2, 3, 4)


@pytest.fixture
def slots() -> FrameSumSlots:
    made = FrameSumSlots(SHAPE, COUNT)
    made._sums.fill(77)  # whatever was in memory: nobody may ever see it
    return made


def random_sums(batch: int, seed: int = 0) -> Sums:
    return np.random.default_rng(seed).integers(0, 5, (batch, *SHAPE), np.uint8)


def test_every_row_is_handed_out_once(slots: FrameSumSlots) -> None:
    rows = [slots.allocate("an edge") for _ in range(COUNT)]
    assert sorted(row for row in rows if row is not None) == list(range(COUNT))
    assert slots.in_use == COUNT
    assert slots.allocate("an edge") is None
    slots.free(2)
    assert (slots.in_use, slots.allocate("an edge")) == (COUNT - 1, 2)


def test_a_reset_row_has_seen_nothing(slots: FrameSumSlots) -> None:
    slots.reset([3, 1])
    assert not slots.gather([1, 3]).any()
    assert (slots.gather([0, 2, 4]) == 77).all()
    slots.reset([])
    assert (slots.gather([0, 2, 4]) == 77).all()


def test_what_is_scattered_is_gathered_in_any_order(slots: FrameSumSlots) -> None:
    sums = random_sums(3)
    slots.scatter([4, 0, 2], sums)
    np.testing.assert_array_equal(slots.gather([2, 4]), sums[[2, 0]])


def test_a_row_handed_to_a_new_sample_shows_nothing_of_the_old_one(slots: FrameSumSlots) -> None:
    sums = random_sums(2)
    slots.scatter([0, 1], sums)
    slots.reset([0])
    assert not slots.gather([0]).any()
    np.testing.assert_array_equal(slots.gather([1]), sums[1:])


def test_who_gathers_may_overwrite(slots: FrameSumSlots) -> None:
    slots.reset([0])
    for state in (slots.gather([0]), slots.fresh(1)):
        state[:] = 9
    assert not slots.gather([0]).any()
    assert not slots.fresh(2).any()


def test_sums_that_do_not_fit_change_nothing(slots: FrameSumSlots) -> None:
    slots.reset([0, 1])
    for bad in (random_sums(3), random_sums(1), random_sums(2)[..., :-1], random_sums(2)[:, :1]):
        with pytest.raises(ValueError, match="do not fit 2 rows"):
            slots.scatter([0, 1], bad)
    assert not slots.gather([0, 1]).any()


def test_a_row_is_a_byte_for_each_neuron(slots: FrameSumSlots) -> None:
    assert slots.bytes_per_row == 2 * 3 * 4
    assert slots.fresh(1).dtype == np.uint8
