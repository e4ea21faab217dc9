"""Finds keys that were idle for too long. Pure: the time is passed in. The cost is the same for any number of keys."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class IdleWatch(Generic[Key]):
    """Keys in the order in which they were last active.

    The times passed in must not decrease.

    Args:
        timeout: seconds without activity after which a key expires.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._last: OrderedDict[Key, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def touch(self, key: Key, now: float) -> None:
        """Note that a key is active. The first call starts to watch it."""
        self._last[key] = now
        self._last.move_to_end(key)

    def forget(self, key: Key) -> None:
        """Stop to watch a key, if it is watched."""
        self._last.pop(key, None)

    def expired(self, now: float) -> list[Key]:
        """The keys that have expired, longest idle first. They are no longer watched."""
        gone = []
        while self._last:
            key, last = next(iter(self._last.items()))
            if now < last + self.timeout:
                break
            del self._last[key]
            gone.append(key)
        return gone

    def next_expiry(self) -> float | None:
        """When the next key expires if none becomes active; None if no key is watched."""
        return next(iter(self._last.values())) + self.timeout if self._last else None
