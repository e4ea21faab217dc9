from __future__ import annotations

import math

from benchmarks.links.profiles import BY_NAME, PROFILES
from benchmarks.testbed.plan import (
    ALTERNATIVES,
    CURVE_LINK_ONLY,
    LEAST,
    Planned,
    Speeds,
    choose,
    estimate,
    plan,
    uses_link,
)

SPEEDS = {"pi": Speeds(0.02, 0.1, 0.008, 0.01, 262_144.0, 4), "core": Speeds(0.002, 0.01, 0.008, 0.01, 262_144.0, 4)}


def made(minutes: float) -> list[Planned]:
    return plan(
        ALTERNATIVES, PROFILES, ("pi", "core"), SPEEDS, main=("wifi", "pi"), n=1000, n_others=200, seconds=60 * minutes
    )


def test_the_main_profile_comes_first_and_has_every_alternative() -> None:
    planned = made(1e6)
    assert [run.alternative for run in planned[: len(ALTERNATIVES)]] == list(ALTERNATIVES)
    assert {(run.link.name, run.edge, run.n) for run in planned[: len(ALTERNATIVES)]} == {("wifi", "pi", 1000)}
    for run in planned[len(ALTERNATIVES) :]:
        assert run.n == run.asked == 200
        assert run.alternative.name not in CURVE_LINK_ONLY
        assert run.link.name == "wifi" or (run.edge == "pi" and uses_link(run.alternative))


def test_too_little_time_takes_samples_from_the_longest_runs() -> None:
    whole, cut = made(1e6), made(25)
    assert sum(run.seconds for run in cut if run.n) <= 25 * 60
    assert all(run.n == 0 or LEAST <= run.n <= run.asked for run in cut)
    others = range(len(ALTERNATIVES), len(whole))
    shortest, longest = (pick(others, key=lambda i: whole[i].seconds) for pick in (min, max))
    assert cut[shortest].n > 0.9 * whole[shortest].n
    assert cut[longest].n < whole[longest].n
    assert sum(run.seconds for run in cut[: len(ALTERNATIVES)]) > 0.75 * 25 * 60


def test_a_slow_link_costs_what_is_sent_over_it() -> None:
    (float32,) = choose(["split-float32"])
    (full,) = choose(["full"])
    # 262,144 bytes at 50 kbit/s are 42 s, for each of two timesteps.
    assert math.isclose(estimate(float32, BY_NAME["lora"], SPEEDS["pi"]), 84.0, rel_tol=0.05)
    assert estimate(full, BY_NAME["lora"], SPEEDS["pi"]) < 0.5
