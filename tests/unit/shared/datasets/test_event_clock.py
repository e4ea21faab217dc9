"""Counters that overflow, clocks that are set, events out of order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.datasets.event_clock import EventClock, order_by_time
from shared.datasets.event_collector import collect_arrays, make_events
from shared.errors import SourceError
from tests.unit.shared.datasets.made import made

TURN = 1 << 32


def line(clock: EventClock, raw: list[int]) -> list[int]:
    return clock.line(np.array(raw, np.int64)).tolist()


def test_an_overflow_is_undone_and_no_word_said() -> None:
    clock = EventClock(32)
    assert line(clock, [TURN - 3, TURN - 1, 2, 5]) == [TURN - 3, TURN - 1, TURN + 2, TURN + 5]
    assert line(clock, [9]) == [TURN + 9]
    assert clock.notes == []


def test_an_overflow_between_blocks_and_one_after_the_other() -> None:
    clock = EventClock(24)
    raw = np.arange(0, 5 << 24, 100_000)
    found = [clock.line(block & (1 << 24) - 1) for block in np.array_split(raw, 7)]
    np.testing.assert_array_equal(np.concatenate(found), raw)


def test_events_out_of_order_around_an_overflow() -> None:
    assert line(EventClock(32), [TURN - 2, 3, TURN - 1, 5, 4]) == [TURN - 2, TURN + 3, TURN - 1, TURN + 5, TURN + 4]


def test_a_signed_counter_overflows_too() -> None:
    half = 1 << 31
    assert line(EventClock(32), [half - 2, -half + 1]) == [half - 2, half + 1]


def test_a_clock_that_is_set_back_is_told_of_and_times_go_on() -> None:
    clock = EventClock(32)
    assert line(clock, [3_200_000, 3_200_010, 10, 25]) == [3_200_000, 3_200_010, 3_200_010, 3_200_025]
    assert clock.notes == ["its clock was set back by 3.200 s at event 3: its times go on from there"]
    line(clock, [100_000, 0])
    line(clock, [100_000, 0])
    assert clock.notes[1:] == ["that happens more than once"]


def test_a_clock_that_is_reset_long_before_it_overflows_was_set_back() -> None:
    clock = EventClock(32)
    assert line(clock, [3_000_000_000, 0, 10]) == [3_000_000_000, 3_000_000_000, 3_000_000_010]
    assert clock.notes == ["its clock was set back by 3,000.000 s at event 2: its times go on from there"]


def test_arrays_may_be_in_any_order_which_is_told_of() -> None:
    found = collect_arrays([1, 2, 3], [0, 0, 0], [1, 1, 0], [500_000, 600_000, 0])
    assert found.events["x"].tolist() == [3, 1, 2]
    assert found.notes == ("its times go back by 0.600 s at event 3: its events are put in order of time",)


def test_a_few_events_out_of_order_are_sorted() -> None:
    found = collect_arrays([1, 2, 3], [0, 0, 0], [1, 1, 0], [10, 30, 20])
    assert found.events["x"].tolist() == [1, 3, 2]
    assert found.notes == ()


def test_a_clock_that_jumps_ahead_is_told_of_and_the_pause_taken_out() -> None:
    t = np.concatenate([np.arange(40), 3_000_000_000 + np.arange(0, 200_000, 50)])
    found = collect_arrays(np.zeros(len(t)), np.zeros(len(t)), np.ones(len(t)), t)
    assert found.notes == ("its clock jumps ahead by 3,000.000 s at event 41: the pause is taken out",)
    assert found.events["t"][-1] == 39 + 199_950


def test_a_pause_is_no_jump() -> None:
    events = make_events([0] * 4, [0] * 4, [1] * 4, [0, 2_000_000, 3_500_000, 4_100_000])
    assert order_by_time(events) == []
    assert events["t"].tolist() == [0, 2_000_000, 3_500_000, 4_100_000]


@given(st.permutations(range(200)))
def test_sorting_is_stable_and_complete(order: list[int]) -> None:
    events = made(200)[order]
    assert order_by_time(events) == []
    assert sorted(events.tolist()) == sorted(made(200).tolist())
    assert (np.diff(events["t"]) >= 0).all()


def test_times_that_cannot_be_are_refused() -> None:
    with pytest.raises(SourceError, match="whole microseconds"):
        make_events([0, 0], [0, 0], [1, 1], [-9e18, 9e18])
