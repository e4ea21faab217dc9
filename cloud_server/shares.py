"""Divides a number of places, such as slots, among their holders, so that no holder can take all of them.

The rule is that of dynamic thresholds (Choudhury and Hahne, 1998): who holds n places gets one more while n is less
than `TIMES_FREE` times the places that are free. A lone holder reaches 8/9 of all, two reach 8/17 each, and so on. So
there is nothing to set, and a newcomer finds a place, however many others want all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

TIMES_FREE = 8
"""The places that one may hold for each that is free. Larger leaves less idle, smaller leaves more to a newcomer."""


def has_room(held: int, free: int) -> bool:
    """Whether the holder of `held` places may take one more of the `free` ones."""
    return held < TIMES_FREE * free


class Shares:
    """Places and who holds them.

    Args:
        places: how many there are, 1 or more.

    Attributes:
        in_use: how many are held.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self.in_use = 0
        self._held: Counter[Hashable] = Counter()

    def held(self, holder: Hashable) -> int:
        """How many places `holder` has."""
        return self._held.get(holder, 0)

    def has_room(self, holder: Hashable) -> bool:
        """Whether `holder` may take one more place."""
        return has_room(self.held(holder), self.places - self.in_use)

    def take(self, holder: Hashable) -> None:
        """Count one more place of `holder`. Does not ask whether there is room."""
        self._held[holder] += 1
        self.in_use += 1

    def give_back(self, holder: Hashable, count: int = 1) -> None:
        """Count `count` places of `holder` less. A holder of none is forgotten."""
        self.in_use -= count
        self._held[holder] -= count
        if not self._held[holder]:
            del self._held[holder]


def largest_share(places: int) -> int:
    """The most places that a lone holder gets."""
    return -(-places * TIMES_FREE // (TIMES_FREE + 1))
