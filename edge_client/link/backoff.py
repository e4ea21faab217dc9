"""How long to pause before the next try: exponential backoff with full jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Backoff:
    """A pause is drawn evenly from 0 to min(longest, first * 2 ** failures), in seconds.

    It starts from 0 so that the edges of a cloud that comes back do not all ask at once. `chance` is seeded in tests.
    """

    first_s: float = 0.1
    longest_s: float = 3.0
    chance: random.Random = field(default_factory=random.Random)

    def pause_s(self, failures: int) -> float:
        """The pause after this number of failures in a row."""
        doublings = min(failures, 32)  # beyond that every pause is the longest
        return self.chance.uniform(0.0, min(self.longest_s, self.first_s * 2.0**doublings))
