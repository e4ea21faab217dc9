"""The link to the cloud, kept up: opens a stream, and another one when it is lost, at the next address.

A cloud that drains, a connection that breaks and a machine that is gone are the same to it: the stream has ended, and
there may be another one. Whose frames were on it has to send them again; `co_inference.py` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from edge_client.link.addresses import Address, Target, resolve
from edge_client.link.backoff import Backoff
from edge_client.link.errors import closed, not_there
from edge_client.link.transport import Transport
from shared.command_line import join_address
from shared.errors import CloudRefused, CloudUnavailable, NeucodexError

log = logging.getLogger(__name__)


STEADY_S = 1.0
"""A stream that lived longer was a good one: the next pause is a short one again."""

LEAST_TRY_S = 2.0
"""A try has so long, or the whole deadline, however many machines share it: TCP, TLS, HTTP/2 and Open take up to four
round trips, of half a second each over a satellite. A share that is shorter would cut off every try for ever."""


class Link(Protocol):
    """Where the loop gets its stream from."""

    async def stream(self, within_s: float) -> Transport:
        """An open stream: the present one, or the next.

        Raises:
            TimeoutError: there is none within `within_s` seconds.
            CloudUnavailable: the link was closed.
            CloudRefused: every cloud refused this edge, one after the other, be it on a stream that was open.
        """

    @property
    def down_since(self) -> float | None:
        """When the last stream was lost, or the link made, by the loop's clock; None while a stream is open."""

    def trouble(self) -> CloudUnavailable:
        """Why there is no stream, for people; a new one each time, to be raised."""


class CloudLink:
    """A `Link` to the first of several clouds that answers. `start` it, and `close` it.

    Args:
        addresses: of clouds that serve the same bundle, in the order in which they are tried. A name that stands for
            several machines is tried machine by machine.
        connect: makes an unopened transport to one machine, for a try of at most so many seconds.
        connect_deadline_s: shared by all machines, so that a round takes no longer; but each has `LEAST_TRY_S`.
        backoff: pauses between tries.
        on_change: told whenever a stream is open (True) or lost (False).
        clock: seconds; the loop's.
        sleep: pauses.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        connect: Callable[[Target, float], Transport],
        connect_deadline_s: float,
        backoff: Backoff,
        *,
        on_change: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._addresses = addresses
        self._connect = connect
        self._connect_deadline_s = connect_deadline_s
        self._backoff = backoff
        self._on_change = on_change
        self._clock = clock
        self._sleep = sleep
        self._open: Transport | None = None
        self._down_since: float | None = clock()
        self._failures = 0
        self._opened_at = 0.0
        self._warned: set[str] = set()
        """What was said since the last stream was opened."""
        self._refused: CloudRefused | None = None
        self._lost: CloudUnavailable | None = None
        self._failed: NeucodexError | None = None
        """Why the last try was in vain; None where none was since a stream was open."""
        self._answerable = asyncio.Event()
        """Set while `stream` has something to say: a stream is open, all clouds refused, or the link is over."""
        self._over = False
        self._task: asyncio.Task[None] | None = None

    @property
    def down_since(self) -> float | None:
        self._present()
        return self._down_since

    def start(self) -> None:
        """Begin to connect, in the background; call it once."""
        self._task = asyncio.create_task(self._keep_open(), name="link")
        self._task.add_done_callback(lambda _: self._answerable.set())

    async def stream(self, within_s: float) -> Transport:
        until = self._clock() + within_s
        while self._over or self._present() is None:
            if self._over:
                raise closed()
            if self._refused is not None:
                raise self._refused.anew()
            if self._task is not None and self._task.done():
                self._task.result()  # raises what ended it, which nothing should
            try:
                await asyncio.wait_for(self._answerable.wait(), until - self._clock())
            except (asyncio.TimeoutError, TimeoutError):  # one and the same from Python 3.11 on
                raise TimeoutError from None
        assert self._open is not None
        return self._open

    def trouble(self) -> CloudUnavailable:
        named = [join_address(address) for address in self._addresses]
        trouble = not_there(named, self._connect_deadline_s) if self._lost is None else self._lost.anew()
        return trouble if self._failed is None else CloudUnavailable(f"{trouble}; the last try: {self._failed}")

    async def close(self) -> None:
        """End the stream and try no more; who waits for one is told."""
        self._over = True
        self._answerable.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _keep_open(self) -> None:
        while True:
            try:
                targets = await resolve(self._addresses, self._backoff.chance)
            except CloudUnavailable as error:
                self._failed = error
                self._warn(error)
                await self._pause()
                continue
            failures: list[NeucodexError] = []
            try_s = max(self._connect_deadline_s / len(targets), min(self._connect_deadline_s, LEAST_TRY_S))
            for target in targets:
                why = await self._visit(target, try_s)
                failures.append(why)
                # Else whoever waits for the first stream is told, and says it.
                if self._lost is not None or (isinstance(why, CloudRefused) and len(targets) > 1):
                    self._warn(why)
                self._refuse(why if len(failures) == len(targets) and _all_refused(failures) else None)
                # There is no sense in asking a cloud that wants to be left alone, unless there is another to ask first.
                alone_s = why.retry_after_s if isinstance(why, CloudUnavailable) and target is targets[-1] else 0.0
                await self._pause(alone_s)

    async def _visit(self, target: Target, within_s: float) -> NeucodexError:
        """Open a stream to one machine and stay until it is lost; why it is, or never was."""
        transport = self._connect(target, within_s)
        try:
            await transport.open()
            self._opened(transport, target)
            why = await transport.lost()
            self._closed(why)
        except NeucodexError as error:
            self._failed = why = error
        finally:
            if self._open is transport:  # this edge is done
                self._open = None
                self._on_change(False)
            await transport.close()
        return why

    def _present(self) -> Transport | None:
        """The open stream. Samples may learn before the link's own task that it is lost."""
        if self._open is not None and self._open.ended is not None:
            self._closed(self._open.ended)
        return self._open

    def _opened(self, transport: Transport, target: Target) -> None:
        if self._lost is not None:
            log.info("connected again, to %s", target.address)
        self._open = transport
        self._opened_at = self._clock()
        self._down_since = None
        self._refused = None
        self._failed = None
        self._warned.clear()
        self._answerable.set()
        self._on_change(True)

    def _closed(self, why: NeucodexError) -> None:
        if self._open is None:
            return
        self._open = None
        self._down_since = self._clock()
        self._answerable.clear()
        if isinstance(why, CloudUnavailable):
            self._lost = why
            self._warned.add(str(why))
            log.warning("%s; connecting again", why)
        # A cloud that takes streams and drops them at once is not asked more often than one that takes none.
        if self._down_since - self._opened_at > STEADY_S:
            self._failures = 0
        self._on_change(False)

    def _warn(self, what: NeucodexError) -> None:
        """Once: tries go on for as long as it stays so."""
        if str(what) not in self._warned:
            self._warned.add(str(what))
            log.warning("%s", what)

    def _refuse(self, refusal: NeucodexError | None) -> None:
        self._refused = refusal if isinstance(refusal, CloudRefused) else None
        if refusal is None:
            self._answerable.clear()
        else:
            self._answerable.set()

    async def _pause(self, at_least_s: float = 0.0) -> None:
        pause_s = self._backoff.pause_s(self._failures)
        self._failures += 1
        await self._sleep(at_least_s + pause_s)


def _all_refused(failures: Sequence[NeucodexError]) -> bool:
    return all(isinstance(why, CloudRefused) for why in failures)
