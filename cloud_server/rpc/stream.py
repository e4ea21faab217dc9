"""An open stream, from its Open until its end is decided."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from cloud_server.rpc.authentication import Metadata
from cloud_server.rpc.identity import Identity
from cloud_server.rpc.send_queue import SendQueue
from cloud_server.rpc.session import StreamSession
from cloud_server.rpc.stream_status import StreamStatus


@dataclass(eq=False)
class Stream:
    """An open stream. After its end is decided only its send queue is left.

    Attributes:
        peer, identity: where it comes from, and whose it is.
        metadata: what its edge sent first, its token among them.
        session: what its messages do.
        send_queue: its answers.
        forget: removes it from the servicer.
        reader: the task that reads its messages.
        closing: whether it ends by itself soon, so that `end_if_done` is to be called after each message and answer.
        half_closed: whether the edge has sent its last message. What it sent is still answered.
        end_when_done: the status with which it ends once its open samples are done; None for not yet.
        ended: set when its end is decided.
    """

    peer: str
    identity: Identity
    metadata: Metadata
    session: StreamSession
    send_queue: SendQueue
    forget: Callable[[], None]
    reader: asyncio.Task[None] = field(init=False)
    closing: bool = False
    half_closed: bool = False
    end_when_done: StreamStatus | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, status: StreamStatus) -> None:
        """Decide the end. Slots are free at once and nothing more is read; the queued messages are still written."""
        self.send_queue.end(status)
        self.reader.cancel()
        self.session.close()
        self.forget()
        self.ended.set()

    def drain(self, status: StreamStatus) -> None:
        """Take no new samples, and end with `status` when the open ones are done."""
        self.end_when_done = status
        self.session.draining = True
        self.closing = True
        self.end_if_done()

    def half_close(self) -> None:
        """The edge has sent its last message: end when all of its frames are answered."""
        self.half_closed = True
        self.closing = True
        self.end_if_done()

    def end_if_done(self) -> None:
        """End if nothing is left to do: no open sample while it drains, no unanswered frame after the last message."""
        if self.end_when_done is not None and self.session.open_samples == 0:
            self.end(self.end_when_done)
        elif self.half_closed and not self.session.has_unanswered_frames:
            self.end(StreamStatus())
