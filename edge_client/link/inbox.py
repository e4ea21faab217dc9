"""What has come for one sample and nobody has taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from shared.errors import NeucodexError
from shared.messages import Rejection, StepResult

Answer = StepResult | Rejection


class Inbox:
    """Answers in the order they came, and at last why there will be no more. One taker at a time."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.written = False
        """Whether a frame of the sample was handed to gRPC: the cloud may know of it."""
        self.leaving = 0
        """Frames of the sample that were sent and have not left this process."""
        self._when_written: Callable[[], None] | None = None
        self._end: NeucodexError | None = None
        self._nudged = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, answer: Answer) -> None:
        """One more answer."""
        self.answers.append(answer)
        self._wake()

    def end(self, why: NeucodexError) -> None:
        """The stream is lost: raised to every taker once the answers are taken."""
        self._end = why
        self._wake()

    def when_written(self, do: Callable[[], None]) -> None:
        """Call `do` when nothing is leaving any more; of several the last."""
        self._when_written = do
        self._tell_if_written()

    def left(self) -> None:
        """One frame less that is leaving."""
        self.leaving -= 1
        self._tell_if_written()

    def nudge(self) -> None:
        """Let whoever waits look at something else; if nobody does, the next who would."""
        self._nudged = True
        self._wake()

    async def take(self, within_s: float) -> Answer | None:
        """The next answer; None after a nudge.

        Raises:
            TimeoutError: nothing came within `within_s` seconds.
            CloudUnavailable, CloudRefused: the stream is lost.
        """
        if not (self.answers or self._nudged or self._end):
            # Not wait_for or wait: they make tasks and callbacks for each answer.
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(max(0.0, within_s), self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
        if self.answers:
            return self.answers.popleft()
        if self._end is not None:
            raise self._end.anew()
        if self._nudged:
            self._nudged = False
            return None
        raise TimeoutError

    def _tell_if_written(self) -> None:
        if self.leaving == 0 and self._when_written is not None:
            do, self._when_written = self._when_written, None
            do()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
