from __future__ import annotations

import pytest

from benchmarks.links.profiles import PROFILES
from benchmarks.testbed.plan import (
    ALTERNATIVES,
    COMPARED,
    MAIN_SHARE,
    VERY_SLOW_RTT_MS,
    WHOLE_N,
    choose,
    plan,
    uses_link,
)
from shared.errors import ConfigError

PLANNED = plan(ALTERNATIVES, PROFILES, ("core", "pi"), main=("wifi", "pi"), n=1000, n_others=200)


def test_the_main_profile_comes_first_and_has_every_alternative() -> None:
    first, others = PLANNED[: len(ALTERNATIVES)], PLANNED[len(ALTERNATIVES) :]
    assert [run.alternative for run in first] == list(ALTERNATIVES)
    assert {(run.link.name, run.edge) for run in first} == {("wifi", "pi")}
    assert {run.alternative.name for run in first if run.n == 1000} == set(WHOLE_N)
    assert {run.n for run in first} == {1000, 200}
    assert {(run.link.name, run.edge) for run in others} == {
        ("wifi", "core"), *((link.name, "pi") for link in PROFILES if link.name != "wifi")
    }  # fmt: skip
    for run in others:
        assert run.n == 200
        assert run.alternative.name in COMPARED or (run.link.name == "wifi" and not uses_link(run.alternative))
        assert run.alternative.name != "bottleneck-exit" or run.link.rtt_ms < VERY_SLOW_RTT_MS


def test_the_main_profile_has_most_of_the_time() -> None:
    assert sum(run.weight for run in PLANNED) == pytest.approx(1.0)
    assert sum(run.weight for run in PLANNED[: len(ALTERNATIVES)]) == pytest.approx(MAIN_SHARE)


def test_what_is_not_in_a_table_is_named() -> None:
    assert choose({"a": 1, "b": 2}, ["b"], "letter") == (2,)
    with pytest.raises(ConfigError, match="no letter is called c: there are a"):
        choose({"a": 1}, ["c"], "letter")
