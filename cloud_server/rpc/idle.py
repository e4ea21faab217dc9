"""Who has been idle for too long. Pure: the time is passed in. An operation costs the same however many are watched."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class IdleWatch(Generic[Key]):
    """Keys in the order of their last sign of life; all have the same `timeout` in seconds. Time must not run back."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._last: OrderedDict[Key, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def touch(self, key: Key, now: float) -> None:
        """A sign of life; the first one begins the watch."""
        self._last[key] = now
        self._last.move_to_end(key)

    def forget(self, key: Key) -> None:
        """No longer watched; nothing happens if it was not."""
        self._last.pop(key, None)

    def expired(self, now: float) -> list[Key]:
        """Those whose time is up, longest idle first; they are no longer watched."""
        gone = []
        while self._last:
            key, last = next(iter(self._last.items()))
            if now < last + self.timeout:
                break
            del self._last[key]
            gone.append(key)
        return gone

    def next_expiry(self) -> float | None:
        """When the next one's time is up if it stays silent; None if none is watched."""
        return next(iter(self._last.values())) + self.timeout if self._last else None
