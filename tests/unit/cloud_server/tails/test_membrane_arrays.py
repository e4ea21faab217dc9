"""Slots in numpy: a row holds the state of its owner alone, whatever its former owner left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cloud_server.tails.membrane_arrays import MembraneArraySlots, SpikingArrays

COUNT, CLASSES, INITIAL = 5, 3, 0.25
SHAPES = [(2, 4, 4), (3, 2, 2)]


@pytest.fixture
def slots() -> MembraneArraySlots:
    made = MembraneArraySlots(SHAPES, CLASSES, INITIAL, COUNT)
    for rows in made._rows:
        rows.fill(np.nan)  # what memory held before; no sample may see it
    return made


def random_state(batch: int) -> SpikingArrays:
    rng = np.random.default_rng(batch)
    membranes = tuple(rng.random((batch, *shape), np.float32) for shape in SHAPES)
    return SpikingArrays(membranes, rng.random((batch, CLASSES), np.float32))


def chosen(state: SpikingArrays, rows: list[int]) -> SpikingArrays:
    return SpikingArrays(tuple(part[rows] for part in state.membranes), state.logits[rows])


def assert_equal(left: SpikingArrays, right: SpikingArrays) -> None:
    for one, other in zip((*left.membranes, left.logits), (*right.membranes, right.logits), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_reset_row_is_the_initial_state(slots: MembraneArraySlots) -> None:
    slots.reset([3, 1])
    assert_equal(slots.gather([1, 3]), slots.fresh(2))
    assert {float(part.min()) for part in slots.fresh(2).membranes} == {INITIAL}
    assert not slots.fresh(2).logits.any()
    slots.reset([])


def test_what_is_scattered_is_gathered_in_any_order(slots: MembraneArraySlots) -> None:
    state = random_state(3)
    slots.scatter([4, 0, 2], state)
    assert_equal(slots.gather([2, 4]), chosen(state, [2, 0]))
    assert_equal(slots.gather([0]), chosen(state, [1]))


def test_a_row_of_a_new_sample_shows_nothing_of_the_old_one_and_leaves_the_others(slots: MembraneArraySlots) -> None:
    state = random_state(2)
    slots.scatter([0, 1], state)
    slots.reset([0])
    assert_equal(slots.gather([0]), slots.fresh(1))
    assert_equal(slots.gather([1]), chosen(state, [1]))


def test_who_gathers_may_overwrite(slots: MembraneArraySlots) -> None:
    slots.reset([0])
    got = slots.gather([0])
    for part in (*got.membranes, got.logits):
        part.fill(9.0)
    assert_equal(slots.gather([0]), slots.fresh(1))


def test_a_state_that_does_not_fit_changes_nothing(slots: MembraneArraySlots) -> None:
    slots.reset([0, 1])
    good = random_state(2)
    for bad in (random_state(3), replace(good, logits=good.logits[:, 1:])):
        with pytest.raises(ValueError, match="does not fit"):
            slots.scatter([0, 1], bad)
    assert_equal(slots.gather([0, 1]), slots.fresh(2))


def test_bytes_per_row(slots: MembraneArraySlots) -> None:
    assert slots.bytes_per_row == 4 * (2 * 4 * 4 + 3 * 2 * 2 + CLASSES)
