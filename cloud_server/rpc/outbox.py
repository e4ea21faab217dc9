"""What waits to be written to one stream. Memory stays bounded: an edge that does not read is not read from either."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc

from shared.messages import CloudMessage


@dataclass(frozen=True)
class End:
    """How a stream ends: with OK, or aborted with a status code, a text for people, and metadata for machines."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    metadata: tuple[tuple[str, str | bytes], ...] = ()


class Outbox:
    """Messages in order, and then the stream's end. `put` never blocks; who reads frames awaits `room` first.

    So it holds at most `bound` messages, and one for every frame that was accepted before.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._messages: deque[CloudMessage] = deque()
        self._end: End | None = None
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def how(self) -> End | None:
        """How the stream is to end, once that is decided."""
        return self._end

    def put(self, message: CloudMessage) -> None:
        """Queue a message; after the end it is dropped."""
        if self._end is not None:
            return
        self._messages.append(message)
        self._filled.set()
        if len(self._messages) >= self._bound:
            self._room.clear()

    def end(self, end: End) -> None:
        """End the stream after what is queued; the first end holds."""
        if self._end is None:
            self._end = end
            self._filled.set()
            self._room.set()

    async def room(self) -> None:
        """Wait until fewer than `bound` messages are queued, or the stream is to end."""
        await self._room.wait()

    async def messages(self) -> AsyncIterator[CloudMessage]:
        """What is queued, as it comes, until the end."""
        while True:
            while self._messages:
                message = self._messages.popleft()
                if len(self._messages) < self._bound:
                    self._room.set()
                yield message
            if self._end is not None:
                return
            self._filled.clear()
            await self._filled.wait()
