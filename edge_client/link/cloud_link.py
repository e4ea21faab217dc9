"""Keeps a stream to a cloud open: when it is lost, opens another one, at the next address.

A cloud that drains, a connection that breaks and a machine that is gone look the same here: the stream has ended, and
there may be another one. A sample whose frames were on it sends them again (`inference/in_flight.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from edge_client.link.addresses import Target, resolve
from edge_client.link.backoff import Backoff
from edge_client.link.base import Transport
from edge_client.link.errors import closed, not_there
from edge_client.link.patience import AnswerPatience
from edge_client.link.tries import OpenResult, OpenStream, Tries
from shared.command_line import Address, join_address
from shared.deadline import within
from shared.errors import CloudRefused, CloudUnavailable, NeucodexError

log = logging.getLogger(__name__)

STEADY_S = 1.0
"""A stream that lived longer than this worked: the next pause is short again."""

LEAST_TRY_S = 2.0
"""The least time for one try, or the whole deadline if that is shorter, however many machines share it: TCP, TLS,
HTTP/2 and Open take up to four round trips, of half a second each over a satellite. A shorter share would cut off every
try."""


class CloudLink:
    """A `Link` to the first of several clouds that answers. Call `start` first, and `close` at the end.

    Args:
        addresses: of clouds that serve the same bundle, in the order in which they are tried. A name that stands for
            several machines is tried machine by machine.
        connect: makes an unopened transport to one machine; the number is how many seconds the try may take.
        connect_deadline_s: seconds for one round over all machines. Each try has at least `LEAST_TRY_S`.
        backoff: pauses between tries.
        patience: how long a cloud may owe an answer before the edge tries another one; None: for ever.
        on_change: called with True when a stream is open, and with False when it is lost.
        clock: seconds, as the loop has them.
        sleep: pauses.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        connect: Callable[[Target, float], Transport],
        connect_deadline_s: float,
        backoff: Backoff,
        *,
        patience: AnswerPatience | None = None,
        on_change: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._addresses = addresses
        self._connect = connect
        self._connect_deadline_s = connect_deadline_s
        self._backoff = backoff
        self._patience = patience
        self._on_change = on_change
        self._clock = clock
        self._sleep = sleep
        self.current: Transport | None = None
        self.down_since: float | None = clock()
        self._failures = 0
        """Failed tries in a row."""
        self._opened_at = 0.0
        self._warned: set[str] = set()
        """Warnings logged since the last stream was opened."""
        self._refused: CloudRefused | None = None
        self._lost: CloudUnavailable | None = None
        """Why the last stream was lost; None before the first loss."""
        self._failed: NeucodexError | None = None
        """Why the last try failed; None where none has failed since a stream was open."""
        self._settled = asyncio.Event()
        """Set while `transport` need not wait: a stream is open, all clouds refused, or the link is closed."""
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect, in the background; call it once."""
        self._task = asyncio.create_task(self._keep_open(), name="link")
        self._task.add_done_callback(lambda _: self._settled.set())

    async def transport(self, within_s: float) -> Transport:
        until = self._clock() + within_s
        while True:
            if self._closing:
                raise closed()
            if self.current is not None:
                return self.current
            if self._refused is not None:
                raise self._refused.fresh_copy()
            if self._task is not None and self._task.done():
                self._task.result()  # raises the unforeseen error that ended it
            await within(until - self._clock(), self._settled.wait())

    @property
    def starting(self) -> CloudUnavailable | None:
        """Why the last try failed, if there may be a cloud soon: it warms up, or nothing listens there yet."""
        failed = self._failed
        return failed if isinstance(failed, CloudUnavailable) and failed.starting else None

    def unavailable_error(self, waited_s: float | None = None) -> CloudUnavailable:
        named = [join_address(address) for address in self._addresses]
        within_s = self._connect_deadline_s if waited_s is None else waited_s
        why = not_there(named, within_s) if self._lost is None else self._lost.fresh_copy()
        return why if self._failed is None else CloudUnavailable(f"{why}; the last try: {self._failed}")

    async def close(self) -> None:
        """End the stream and try no more. A call that waits for a stream raises CloudUnavailable."""
        self._closing = True
        self._settled.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _keep_open(self) -> None:
        while not self._closing:
            try:
                targets = await resolve(self._addresses, self._backoff.chance)
            except CloudUnavailable as error:
                self._failed = error
                self._warn(error)
                await self._pause()
                continue
            await self._go_round(targets)

    async def _go_round(self, targets: Sequence[Target]) -> None:
        """Try each machine. Where a stream opens, stay until it is lost, and go on with the next machine."""
        failures: list[NeucodexError] = []
        try_s = max(self._connect_deadline_s / len(targets), min(self._connect_deadline_s, LEAST_TRY_S))
        patience = self._patience if len(targets) > 1 else None
        tries = Tries(targets, lambda target: self._open_stream(target, try_s, patience))
        try:
            while (outcome := await tries.next_outcome()) is not None:
                if isinstance(outcome, OpenStream):
                    why = await self._stay(outcome, tries)
                else:
                    why = self._failed = outcome
                failures.append(why)
                # Before the first stream the caller of `transport` gets this as an exception.
                if self._lost is not None or (isinstance(why, CloudRefused) and len(targets) > 1):
                    self._warn(why)
                self._note_refusal(why if len(failures) == len(targets) and _all_refused(failures) else None)
                if not tries.under_way:
                    # The link waits as long as a busy cloud asks only if it has tried all other clouds.
                    busy_s = why.retry_after_s if isinstance(why, CloudUnavailable) and tries.all_begun else 0.0
                    await self._pause(busy_s)
        finally:
            await tries.close()

    async def _open_stream(self, target: Target, within_s: float, patience: AnswerPatience | None) -> OpenResult:
        """One try. Returns why it failed."""
        transport = self._connect(target, within_s)
        lost: asyncio.Future[NeucodexError] = asyncio.get_running_loop().create_future()

        def on_lost(why: NeucodexError) -> None:
            if self.current is transport and not self._closing:
                self._note_lost(why)
            if not lost.done():
                lost.set_result(why)

        try:
            await transport.open(on_lost, patience)
            return OpenStream(target, transport, lost)
        except BaseException as error:
            await transport.close()
            if isinstance(error, NeucodexError):
                return error
            raise

    async def _stay(self, stream: OpenStream, tries: Tries) -> NeucodexError:
        """Use this stream until it is lost. Returns why."""
        try:
            if not stream.lost.done():
                self._note_open(stream.transport, stream.target)
            await tries.go_on_after(stream.target)
            return await stream.lost
        finally:
            if self.current is stream.transport:  # the link is being closed
                self.current = None
                self._on_change(False)
            await stream.transport.close()

    def _note_open(self, transport: Transport, target: Target) -> None:
        if self._lost is not None:
            log.info("connected again, to %s", target.address)
        self.current = transport
        self._opened_at = self._clock()
        self.down_since = None
        self._refused = None
        self._failed = None
        self._warned.clear()
        self._settled.set()
        self._on_change(True)

    def _note_lost(self, why: NeucodexError) -> None:
        self.current = None
        self.down_since = self._clock()
        self._settled.clear()
        if isinstance(why, CloudUnavailable):
            self._lost = why
            self._warned.add(str(why))
            log.warning("%s; connecting again", why)
        # A cloud that accepts streams and drops them at once is tried as rarely as one that accepts none.
        if self.down_since - self._opened_at > STEADY_S:
            self._failures = 0
        self._on_change(False)

    def _note_refusal(self, refusal: NeucodexError | None) -> None:
        self._refused = refusal if isinstance(refusal, CloudRefused) else None
        if refusal is None:
            self._settled.clear()
        else:
            self._settled.set()

    def _warn(self, what: NeucodexError) -> None:
        """Log it once in an outage: tries go on for as long as it lasts."""
        if str(what) not in self._warned:
            self._warned.add(str(what))
            log.warning("%s", what)

    async def _pause(self, at_least_s: float = 0.0) -> None:
        pause_s = self._backoff.pause_s(self._failures)
        self._failures += 1
        await self._sleep(at_least_s + pause_s)


def _all_refused(failures: Sequence[NeucodexError]) -> bool:
    return all(isinstance(why, CloudRefused) for why in failures)
