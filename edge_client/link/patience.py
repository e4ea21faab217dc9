"""How long a cloud may owe an answer before it is left for another one.

A process that is frozen, or whose machine swaps, keeps its connections: the kernel acknowledges what it never reads.
"""

from __future__ import annotations

import math

LEAVE_AFTER_S = 2.0

LEAST_S = 1.0
"""A shorter silence may be a busy machine's, however fast it was before."""

TIMES_THE_SLOWEST = 4.0

LEAST_TIMES_THE_SLOWEST = 2.0
"""Where answers take longer than `longest_s`: or a sample would be begun again and again and never end."""

KEPT = 0.99
"""What each answer leaves of the slowest one before it: a slow start is forgotten after some hundred answers."""


class AnswerPatience:
    """The patience of one link. Its streams, one after the other, tell it what they see.

    Args:
        longest_s: the longest patience. Faster clouds get four times their slowest answer; inf waits without end.
    """

    def __init__(self, longest_s: float = LEAVE_AFTER_S) -> None:
        self._longest_s = longest_s
        self._slowest_s: float | None = None
        self._left = 0
        """Streams that were left, one after the other, without an answer in between."""

    @property
    def seconds(self) -> float:
        """For how long an answer may be due. It doubles with each stream that was left and brought no answer."""
        if self._slowest_s is None or math.isinf(self._longest_s):
            usual = self._longest_s
        else:
            usual = min(self._longest_s, max(LEAST_S, TIMES_THE_SLOWEST * self._slowest_s))
            usual = max(usual, LEAST_TIMES_THE_SLOWEST * self._slowest_s)
        return usual * 2.0 ** min(self._left, 32)

    def answered(self, after_s: float) -> None:
        """An answer came after something was due for so long."""
        self._left = 0
        self._slowest_s = max(after_s, KEPT * (self._slowest_s or 0.0))

    def left(self) -> None:
        """A stream was left."""
        self._left += 1
