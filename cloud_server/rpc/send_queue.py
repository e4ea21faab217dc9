"""The messages that wait to be written to one stream. Memory is bounded: an edge that does not read is not read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from cloud_server.rpc.stream_status import StreamStatus
from shared.messages import CloudMessage


class SendQueue:
    """Messages in order, and then the stream's status.

    `put` never blocks. Instead, the reader of the stream waits for `room` before it reads the next frame, so the
    queue holds at most `bound` messages and one for each frame that was accepted before.

    Args:
        bound: messages in the queue from which on nothing more is read.

    Attributes:
        room: set while fewer than `bound` messages are queued, and once the stream is to end.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._messages: deque[CloudMessage] = deque()
        self._status: StreamStatus | None = None
        self._filled = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def status(self) -> StreamStatus | None:
        """The stream's status; None until `end` is called."""
        return self._status

    def put(self, message: CloudMessage) -> None:
        """Queue a message. After `end` it is dropped."""
        if self._status is not None:
            return
        self._messages.append(message)
        self._filled.set()
        if len(self._messages) >= self._bound:
            self.room.clear()

    def end(self, status: StreamStatus) -> None:
        """End the stream after the queued messages. Only the first call counts."""
        if self._status is None:
            self._status = status
            self._filled.set()
            self.room.set()

    async def messages(self) -> AsyncIterator[CloudMessage]:
        """Iterate over the messages as they are queued, until the stream's end."""
        while True:
            while self._messages:
                message = self._messages.popleft()
                if len(self._messages) < self._bound:
                    self.room.set()
                yield message
            if self._status is not None:
                return
            self._filled.clear()
            await self._filled.wait()
