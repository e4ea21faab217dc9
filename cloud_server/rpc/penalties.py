"""Slows failed authentications: an address whose tokens are wrong waits longer for each answer."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FIRST_WAIT_S = 0.05
"""Seconds that the first failure waits; each further one twice as long."""
LONGEST_WAIT_S = 2.0
FORGOTTEN_AFTER_S = 60.0
"""Seconds without a failure after which an address starts again from the first wait."""
WAITING_OF_ONE = 32
"""Failures of one address that may wait at once. Beyond that its streams are refused unasked."""
WAITING_OF_ALL = 256
"""Failures that may wait at once. Beyond that they are answered at once: who waits costs memory."""
REMEMBERED = 4096
"""Addresses."""


@dataclass
class _Record:
    failures: int = 0
    failed_at: float = 0.0
    waiting: int = 0


class Penalties:
    """Counts failed authentications by address. The right token is never slowed.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._waiting = 0

    def is_full(self, address: str) -> bool:
        """Whether so many failures of an address wait that no more of its tokens are looked at."""
        record = self._records.get(address)
        return record is not None and record.waiting >= WAITING_OF_ONE

    def begin(self, address: str) -> float:
        """Count a failure, which waits from now until `end`. Returns the seconds that it has to wait."""
        now = self._clock()
        record = self._records.pop(address, None) or _Record()
        self._records[address] = record
        if now - record.failed_at > FORGOTTEN_AFTER_S:
            record.failures = 0
        wait = min(FIRST_WAIT_S * 2.0 ** min(record.failures, 16), LONGEST_WAIT_S)
        if self._waiting >= WAITING_OF_ALL:
            wait = 0.0
        record.failures += 1
        record.failed_at = now
        record.waiting += 1
        self._waiting += 1
        self._forget_some()
        return wait

    def end(self, address: str) -> None:
        """The failure has waited."""
        self._records[address].waiting -= 1
        self._waiting -= 1

    def _forget_some(self) -> None:
        idle = (address for address, record in self._records.items() if not record.waiting)
        while len(self._records) > REMEMBERED and (address := next(idle, None)) is not None:
            del self._records[address]
            idle = (each for each, record in self._records.items() if not record.waiting)
