"""How places are divided among those who want them."""

from __future__ import annotations

import pytest

from cloud_server.shares import Shares, largest_share


def take_all(shares: Shares, *holders: str) -> None:
    """All of them take in turn, until none gets more."""
    wanting = list(holders)
    while wanting:
        wanting = [holder for holder in wanting if shares.has_room(holder)]
        for holder in wanting:
            if shares.has_room(holder):
                shares.take(holder)


@pytest.mark.parametrize("places", [1, 2, 8, 9, 10, 18, 64, 288, 1152])
def test_a_lone_holder_gets_all_but_a_ninth(places: int) -> None:
    shares = Shares(places)
    take_all(shares, "lone")
    assert shares.in_use == largest_share(places)
    assert places < 9 or shares.has_room("newcomer")


def test_the_defaults_leave_a_lone_edge_256_slots_and_1024_streams() -> None:
    assert largest_share(288) == 256
    assert largest_share(1152) == 1024


@pytest.mark.parametrize("greedy", [1, 2, 5, 20])
def test_a_newcomer_finds_a_place_however_many_want_all(greedy: int) -> None:
    shares = Shares(288)
    take_all(shares, *(f"greedy {number}" for number in range(greedy)))
    held = [shares.held(f"greedy {number}") for number in range(greedy)]
    assert max(held) - min(held) <= 1
    assert shares.has_room("newcomer")


def test_what_comes_free_goes_to_those_who_have_less() -> None:
    shares = Shares(288)
    greedy = [f"greedy {number}" for number in range(20)]
    take_all(shares, *greedy, "newcomer")
    while shares.in_use < shares.places:
        shares.take("one more")
    shares.give_back("greedy 0")
    assert shares.has_room("another")
    assert not any(shares.has_room(holder) for holder in greedy)


def test_who_holds_nothing_is_forgotten() -> None:
    shares = Shares(10)
    shares.take("a")
    shares.take("a")
    shares.give_back("a", 2)
    assert (shares.in_use, shares.held("a"), len(shares._held)) == (0, 0, 0)
