"""Plans by hand, against a simulation event by event, and against all plans there are."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.inference.lookahead import (
    MEASURE_EVERY,
    PRIOR_SAMPLES,
    WASTE_PRICE,
    AutoLookahead,
    Costs,
    FixedLookahead,
    Plan,
    best_plan,
    exits_tested,
    expected_cost_s,
    timeline,
)
from edge_client.inference.verdict import Step

SLOW = Costs(round_trip_s=0.040, queue_s=0.0, tail_s=0.003, head_s=0.002, frame_bytes=60.0)
NEAR = replace(SLOW, round_trip_s=0.0002)
DIGITS = (330 / 360, 2 / 360, 3 / 360, 25 / 360)
T = 4


def step(timestep: int = 1, round_trip_s: float = 0.040) -> Step:
    return Step(timestep, 0, 0.5, False, 0.0015, 0.0005, round_trip_s + 0.004, 0.001, 0.003, 1)


def test_what_a_plan_allows() -> None:
    plan = Plan(initial_window=2, window=1, prefetch=1)
    assert [plan.sendable(results, T) for results in range(T)] == [2, 2, 3, 4]
    assert [plan.encodable(results, T) for results in range(T)] == [3, 3, 4, 4]
    assert [Plan(1, 9).sendable(results, T) for results in range(T)] == [1, 4, 4, 4]


def test_the_timeline_of_lockstep_by_hand() -> None:
    moments = timeline(Plan(1, 1), SLOW, 2)
    assert moments.encoded == pytest.approx((0.002, 0.047))
    assert moments.sent == moments.encoded
    assert moments.result == pytest.approx((0.045, 0.090))
    # With the second frame made while the first is under moments, its 2 ms are gone.
    assert timeline(Plan(1, 1, 1), SLOW, 2).result == pytest.approx((0.045, 0.088))


def test_the_timeline_of_full_streaming_by_hand() -> None:
    moments = timeline(Plan(T, T), SLOW, T)
    assert moments.sent == pytest.approx((0.002, 0.004, 0.006, 0.008))
    # The cloud takes 3 ms a frame, the head 2: frames wait there.
    assert moments.result == pytest.approx((0.045, 0.048, 0.051, 0.054))


def test_the_cost_of_a_plan_by_hand() -> None:
    exits = (0.75, 0.25)
    price = SLOW.byte_price_s * SLOW.frame_bytes
    assert expected_cost_s(Plan(1, 1), SLOW, exits) == pytest.approx(
        0.75 * (0.045 + price) + 0.25 * (0.090 + 2 * price)
    )
    assert expected_cost_s(Plan(2, 2), SLOW, exits) == pytest.approx(
        0.75 * (0.045 + 2 * price + WASTE_PRICE * 0.002) + 0.25 * (0.048 + 2 * price)
    )


def test_a_head_still_at_work_delays_the_next_sample() -> None:
    slow_head = Costs(round_trip_s=0.0, queue_s=0.0, tail_s=0.001, head_s=0.010, frame_bytes=0.0)
    ahead, lockstep = (expected_cost_s(Plan(1, 1, made), slow_head, (1.0, 0.0)) for made in (1, 0))
    assert ahead == pytest.approx(0.011 + 0.009 + WASTE_PRICE * 0.010)
    assert lockstep == pytest.approx(0.011)


def test_plans_for_links_and_exits_that_one_knows_the_answer_for() -> None:
    # Most stop at once: one frame, and all the rest when it was not enough.
    assert best_plan(SLOW, DIGITS) == Plan(1, 3)
    # Many go on, and bytes are dear: the next is made while the first is under moments, unless the head has other work;
    # not more, because the tail is slower than the head.
    many = (0.4, 0.1, 0.1, 0.4)
    assert best_plan(replace(SLOW, byte_price_s=900e-6), many) == Plan(1, 3, 1)
    assert best_plan(replace(SLOW, byte_price_s=900e-6), many, can_prefetch=False) == Plan(1, 3)
    # Bytes that cost nothing are sent at once.
    assert best_plan(replace(SLOW, byte_price_s=0.0), DIGITS).initial_window == T
    # Bytes that cost more than any wait are sent one by one.
    dear = best_plan(replace(SLOW, byte_price_s=1.0), DIGITS)
    assert (dear.initial_window, dear.window) == (1, 1)
    # Nobody ever stops early.
    assert best_plan(SLOW, (0.0, 0.0, 0.0, 1.0)).initial_window == T
    # Next door, everybody stops at once: nothing is to be gained.
    assert best_plan(NEAR, (1.0, 0.0, 0.0, 0.0)) == Plan(1, 1, 0)


times = st.floats(0.0, 0.1)
costs = st.builds(Costs, times, times, times, st.floats(0.0001, 0.05), st.floats(0, 500), st.floats(0, 1e-4))
shares = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5).map(lambda ws: tuple(w / sum(ws) for w in ws))


@given(costs, shares)
def test_no_plan_of_the_kind_is_cheaper(costs: Costs, exits: tuple[float, ...]) -> None:
    best = expected_cost_s(best_plan(costs, exits), costs, exits)
    counts = range(1, len(exits) + 1)
    for initial_window, window, prefetch in itertools.product(counts, counts, (0, 1, len(exits) - 1)):
        assert best <= expected_cost_s(Plan(initial_window, window, prefetch), costs, exits) + 1e-8


@given(costs, st.integers(1, 6), st.integers(1, 6), st.integers(0, 5))
def test_a_timeline_keeps_its_order(costs: Costs, initial_window: int, window: int, prefetch: int) -> None:
    plan = Plan(initial_window, window, prefetch)
    moments = timeline(plan, costs, 6)
    for row in (moments.encoded, moments.sent, moments.result):
        assert list(row) == sorted(row)
    for t in range(6):
        assert moments.encoded[t] <= moments.sent[t] <= moments.result[t]
        assert moments.result[t] - moments.sent[t] >= costs.round_trip_s + costs.queue_s + costs.tail_s - 1e-9
        known = sum(moment <= moments.sent[t] + 1e-9 for moment in moments.result[:t])
        assert plan.sendable(known, 6) > t, "sent before the plan allowed it"


def test_auto_begins_in_lockstep_and_plans_when_it_knows_the_link() -> None:
    auto = AutoLookahead(T, [330, 2, 3, 25], 50e-6)
    assert auto.plan == Plan(1, 1)
    auto.observe_exit(1)
    assert auto.plan == Plan(1, 1), "nothing is known of the link"
    auto.observe_step(step(), 60.0, alone=True)
    auto.observe_exit(1)
    assert auto.plan == Plan(1, 3)
    assert auto.costs == Costs(pytest.approx(0.040), 0.001, 0.003, 0.002, 60.0, 50e-6)


def test_estimates_are_medians_of_frames_that_were_alone() -> None:
    auto = AutoLookahead(T, None, 0.0)
    for round_trip_s in (0.04, 0.04, 30.0):
        auto.observe_step(step(round_trip_s=round_trip_s), 60.0, alone=True)
    auto.observe_step(step(2, round_trip_s=9.0), 60.0, alone=False)
    assert auto.costs is not None
    assert auto.costs.round_trip_s == pytest.approx(0.04)


def test_an_edge_whose_head_keeps_its_answers_waiting_goes_back_to_lockstep() -> None:
    auto = AutoLookahead(T, [40, 10, 10, 40], 50e-6)
    slow = Step(1, 0, 0.5, False, 0.045, 0.0, 0.028, 0.0, 0.019, 1)
    auto.observe_step(slow, 130.0, alone=True)
    auto.observe_exit(1)
    ahead = auto.plan
    assert ahead.prefetch > 0
    auto.observe_step(replace(slow, send_to_result_s=0.075), 130.0, alone=True, head_idle=False)
    assert auto.costs is not None
    assert auto.costs.round_trip_s == pytest.approx(0.009)
    assert auto.costs.busy_s == pytest.approx(0.047)
    auto.observe_exit(1)
    assert auto.plan.prefetch == 0


def test_an_answer_that_finds_the_head_at_work_is_seen_late() -> None:
    costs = Costs(round_trip_s=0.010, queue_s=0.0, tail_s=0.0, head_s=0.050, frame_bytes=0.0, busy_s=0.040)
    assert timeline(Plan(1, 1), costs, 2).result == pytest.approx((0.060, 0.120))
    assert timeline(Plan(1, 1, 1), costs, 2).result == pytest.approx((0.100, 0.110))


def test_an_answer_is_seen_late_also_where_the_head_was_done_before_it_came() -> None:
    costs = Costs(round_trip_s=0.020, queue_s=0.0, tail_s=0.012, head_s=0.013, frame_bytes=150.0, busy_s=0.020)
    assert timeline(Plan(1, 1, 1), costs, 2).result == pytest.approx((0.065, 0.097))
    assert best_plan(costs, (0.7, 0.1, 0.1, 0.1)) == Plan(1, 1)
    assert best_plan(replace(costs, busy_s=0.0), (0.7, 0.1, 0.1, 0.1)).prefetch > 0


def test_now_and_then_a_sample_begins_in_lockstep_to_measure() -> None:
    auto = AutoLookahead(T, [0, 0, 0, 1], 0.0)
    auto.observe_step(step(), 60.0, alone=True)
    auto.observe_exit(4)
    plans = [auto.next_plan() for _ in range(2 * MEASURE_EVERY)]
    assert Counter(plans) == {auto.plan: 2 * MEASURE_EVERY - 2, replace(auto.plan, initial_window=1, prefetch=0): 2}
    assert auto.plan.initial_window == T


def test_exits_seen_outweigh_those_tested() -> None:
    auto = AutoLookahead(2, [1, 0], 0.0)
    assert auto.exits == (1.0, 0.0)
    for _ in range(round(PRIOR_SAMPLES)):
        auto.observe_exit(2)
    assert auto.exits[1] > 0.5
    for _ in range(500):
        auto.observe_exit(2)
    assert auto.exits[1] > 0.99
    for _ in range(100):
        auto.observe_exit(1)
    assert auto.exits[0] > 0.5, "it forgets"


@pytest.mark.parametrize(
    "provenance",
    [
        {},
        {"test": None},
        {"test": {}},
        {"test": {"exits_by_timestep": [1, 2]}},
        {"test": {"exits_by_timestep": "1234"}},
    ],
)
def test_a_manifest_that_does_not_say(provenance: dict[str, object]) -> None:
    assert exits_tested(provenance, T) is None


def test_a_manifest_that_says() -> None:
    assert exits_tested({"test": {"exits_by_timestep": [330, 2, 3, 25]}}, T) == [330, 2, 3, 25]


def test_fixed_stays() -> None:
    fixed = FixedLookahead(2)
    fixed.observe_step(step(), 60.0, alone=True)
    fixed.observe_exit(4)
    assert fixed.next_plan() == Plan(2, 2)
