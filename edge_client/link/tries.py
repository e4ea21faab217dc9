"""One round over all machines: each is tried once, and a slow try does not hold up the next (RFC 8305)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from edge_client.link.addresses import Target
from edge_client.link.base import Transport
from shared.errors import NeucodexError

NEXT_TRY_S = 0.25
"""After this time without a stream the next machine is tried, too (RFC 8305's connection attempt delay)."""


@dataclass(frozen=True)
class OpenStream:
    """A stream that was opened; `lost` is set to the reason when it ends."""

    target: Target
    transport: Transport
    lost: asyncio.Future[NeucodexError]


OpenResult = OpenStream | NeucodexError


class Tries:
    """The tries of one round. `close` it.

    Args:
        targets: in the order in which they are tried.
        open_stream: one try.
    """

    def __init__(
        self, targets: Sequence[Target], open_stream: Callable[[Target], Coroutine[Any, Any, OpenResult]]
    ) -> None:
        self._targets = targets
        self._open_stream = open_stream
        self._left = deque(targets)
        self._failed: set[Target] = set()
        self._tasks: dict[asyncio.Task[OpenResult], Target] = {}

    @property
    def under_way(self) -> bool:
        """Whether a try has not ended yet."""
        return bool(self._tasks)

    @property
    def all_begun(self) -> bool:
        """Whether no machine is left to be tried."""
        return not self._left

    async def next_outcome(self) -> OpenResult | None:
        """What the next try that ends has brought; None when every machine was tried.

        Raises:
            Exception: what a try raised beside our own exceptions.
        """
        while self._left or self._tasks:
            if not self._tasks:
                self._begin()
            patience_s = NEXT_TRY_S if self._left else None
            await asyncio.wait(self._tasks, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    target = self._tasks.pop(task)
                    outcome = task.result()
                    if not isinstance(outcome, OpenStream):
                        self._failed.add(target)
                    return outcome
            self._begin()
        return None

    async def go_on_after(self, target: Target) -> None:
        """Give up the tries that are under way. The next ones are those after `target` that have not failed."""
        await self.close()
        following = self._targets[self._targets.index(target) + 1 :]
        self._left = deque(other for other in following if other not in self._failed)

    async def close(self) -> None:
        """Give up the tries that are under way."""
        tasks, self._tasks = list(self._tasks), {}
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, OpenStream):
                await outcome.transport.close()

    def _begin(self) -> None:
        target = self._left.popleft()
        self._tasks[asyncio.create_task(self._open_stream(target))] = target
