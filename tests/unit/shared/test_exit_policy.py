import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.exit_policy import NEVER, ExitPolicy, certainty
from shared.plain_data import dataclass_from

MEASURES = ["max_probability", "margin", "entropy"]
distributions = st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=20).map(lambda v: [x / math.fsum(v) for x in v])


@given(distributions, st.sampled_from(MEASURES))
def test_certainty_lies_in_0_to_1(confidences: list[float], measure: str) -> None:
    assert 0.0 <= certainty(measure, confidences) <= 1.0 + 1e-9


@pytest.mark.parametrize(("measure", "undecided"), [("max_probability", 0.25), ("margin", 0.0), ("entropy", 0.0)])
def test_the_extremes(measure: str, undecided: float) -> None:
    assert certainty(measure, [0.25] * 4) == pytest.approx(undecided, abs=1e-12)
    assert certainty(measure, [0.0, 1.0, 0.0, 0.0]) == pytest.approx(1.0)


def test_known_values() -> None:
    assert certainty("max_probability", [0.7, 0.2, 0.1]) == 0.7
    assert certainty("margin", [0.7, 0.2, 0.1]) == pytest.approx(0.5)
    assert certainty("entropy", [0.5, 0.5, 0.0, 0.0]) == pytest.approx(0.5)


@given(distributions, st.sampled_from(MEASURES), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_higher_threshold_never_stops_earlier(
    confidences: list[float], measure: str, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    if ExitPolicy(measure, high).should_stop(confidences):
        assert ExitPolicy(measure, low).should_stop(confidences)


@given(distributions, st.sampled_from(MEASURES), st.floats(0.0, 1.0))
def test_the_confidences_needed_decide_as_all_do(confidences: list[float], measure: str, threshold: float) -> None:
    policy = ExitPolicy(measure, threshold)
    needed = policy.confidences_needed
    largest = sorted(confidences, reverse=True)[:needed] if needed else confidences
    assert policy.should_stop(largest) == policy.should_stop(confidences)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_a_threshold_outside_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"0\.\.1"):
        ExitPolicy("max_probability", threshold)


@pytest.mark.parametrize("measure", MEASURES)
def test_never_does_not_stop_even_when_fully_certain(measure: str) -> None:
    policy = ExitPolicy(measure, NEVER)
    assert not policy.should_stop([1.0, 0.0])
    assert ExitPolicy(measure, 1.0).should_stop([1.0, 0.0])
    assert policy.confidences_needed == 1, "the answer's own is enough"
    assert (str(policy), str(ExitPolicy(measure, 0.9))) == ("never", f"{measure} >= 0.9")


@pytest.mark.parametrize("threshold", ["always", "1"])
def test_another_word_is_refused(threshold: str) -> None:
    values = {"measure": "margin", "threshold": threshold}
    with pytest.raises(ConfigError, match="threshold"):
        dataclass_from(ExitPolicy, values)


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(ConfigError, match="margin"):
        ExitPolicy("variance", 0.5)


@pytest.mark.parametrize(("measure", "asked"), [("max_probability", 3), ("margin", 3), ("entropy", 0)])
def test_answers_carry_what_decides_and_what_is_to_be_named(measure: str, asked: int) -> None:
    policy = ExitPolicy(measure, 0.5)
    assert policy.confidences_asked(3) == asked
    assert policy.confidences_asked(1) == policy.confidences_needed
