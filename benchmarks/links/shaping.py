"""One direction of a link, pure: when a packet that comes now arrives, or that it is lost.

A rate (packets one after the other), a drop-tail queue before it, loss, and a delay with jitter that reorders nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

QUEUE_S = 0.2
"""What a queue may hold, in seconds of the rate: a usual buffer."""

LEAST_QUEUE = 20 * 1500
"""Bytes that it holds at least: TCP does not work with less on a slow link."""


@dataclass
class Direction:
    """Tell it of each packet in order of time.

    Args:
        delay_s: each packet takes that long, once it is sent.
        bytes_s: the rate, None for none.
        jitter_s: the delay's spread: uniform between none and twice this is added around it.
        loss: share of packets.
        seed: of chance.
    """

    delay_s: float
    bytes_s: float | None = None
    jitter_s: float = 0.0
    loss: float = 0.0
    seed: int = 0
    packets: int = 0
    lost: int = 0
    _free: float = 0.0
    _last: float = 0.0
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311  not a secret

    def arrives(self, size: int, now: float) -> float | None:
        """When a packet of `size` bytes that comes `now` is there, seconds; None: it is lost."""
        self.packets += 1
        start = max(now, self._free)
        if self.bytes_s is not None:
            waiting = (start - now) * self.bytes_s
            if waiting + size > max(QUEUE_S * self.bytes_s, LEAST_QUEUE):
                self.lost += 1
                return None
            start += size / self.bytes_s
            self._free = start
        if self.loss and self._chance.random() < self.loss:
            self.lost += 1
            return None
        jitter = self._chance.uniform(-self.jitter_s, self.jitter_s) if self.jitter_s else 0.0
        self._last = max(self._last, start + max(self.delay_s + jitter, 0.0))
        return self._last
