"""The link on scripted transports: which machine is asked when, what is told, and to whom."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edge_client.link.addresses import Target, resolve
from edge_client.link.backoff import Backoff
from edge_client.link.cloud_link import CloudLink
from edge_client.link.patience import AnswerPatience
from shared.errors import CloudRefused, CloudUnavailable, ConfigError, NeucodexError
from shared.messages import Ready
from tests.unit.edge_client.fakes import Clock

ONE, TWO = ("127.0.0.1", 1), ("127.0.0.2", 2)


class Scripted:
    """A transport that opens unless it has a reason not to, and ends when told to."""

    def __init__(self, target: Target, refusal: NeucodexError | None) -> None:
        self.target = target
        self.closed = False
        self.patience: AnswerPatience | None = None
        self._refusal = refusal
        self._on_lost: Callable[[NeucodexError], None] = print

    async def open(self, on_lost: Callable[[NeucodexError], None], patience: AnswerPatience | None) -> Ready:
        if self._refusal is not None:
            raise self._refusal
        self._on_lost = on_lost
        self.patience = patience
        return Ready(1, 1000)

    def end(self, why: NeucodexError) -> None:
        self._on_lost(why)

    async def close(self) -> None:
        self.closed = True


class Machines:
    """Answers to tries in their order, then every try succeeds; remembers what was tried."""

    def __init__(self, *answers: NeucodexError | None) -> None:
        self.answers = list(answers)
        self.tried: list[str] = []
        self.within: list[float] = []
        self.transports: list[Scripted] = []

    def connect(self, target: Target, within_s: float) -> Any:
        self.tried.append(target.address)
        self.within.append(within_s)
        transport = Scripted(target, self.answers.pop(0) if self.answers else None)
        self.transports.append(transport)
        return transport


@asynccontextmanager
async def link(
    machines: Machines,
    *addresses: tuple[str, int],
    deadline_s: float = 5.0,
    clock: Clock | None = None,
    on_change: Callable[[bool], None] = print,
    patience: AnswerPatience | None = None,
) -> AsyncIterator[CloudLink]:
    clock = clock or Clock()
    backoff = Backoff(0.1, 3.0, random.Random(0))
    made = CloudLink(
        addresses,
        machines.connect,
        deadline_s,
        backoff,
        patience=patience,
        on_change=on_change,
        clock=clock,
        sleep=clock.sleep,
    )
    made.start()
    try:
        yield made
    finally:
        await made.close()
        assert all(transport.closed for transport in machines.transports)


GONE = CloudUnavailable("gone")
REFUSED = CloudRefused("another bundle")


async def test_tries_go_round_all_addresses_with_growing_pauses() -> None:
    machines, clock = Machines(*[GONE] * 40), Clock()
    async with link(machines, ONE, TWO, clock=clock) as it:
        await it.transport(1000.0)
    assert machines.tried == ["127.0.0.1:1", "127.0.0.2:2"] * 20 + ["127.0.0.1:1"]
    assert machines.within == [2.5] * 41, "one round of all machines has the deadline"
    assert len(clock.slept) == 40
    for failures, pause in enumerate(clock.slept):
        assert 0.0 <= pause <= min(3.0, 0.1 * 2**failures)
    assert max(clock.slept[:3]) < 0.4 < max(clock.slept[10:])


@pytest.mark.parametrize(("deadline_s", "try_s"), [(5.0, 2.0), (64.0, 4.0), (0.5, 0.5)])
async def test_a_try_is_long_enough_for_a_handshake_however_many_machines_there_are(
    deadline_s: float, try_s: float
) -> None:
    machines = Machines(*[GONE] * 20)
    pods = [(f"127.0.0.{number}", 1) for number in range(1, 17)]
    async with link(machines, *pods, deadline_s=deadline_s) as it:
        await it.transport(1000.0)
    assert machines.within == [try_s] * 21


class Slow(Scripted):
    """Opens when it is told to."""

    def __init__(self, target: Target) -> None:
        super().__init__(target, None)
        self.answers = asyncio.Event()

    async def open(self, on_lost: Callable[[NeucodexError], None], patience: AnswerPatience | None) -> Ready:
        await self.answers.wait()
        return await super().open(on_lost, patience)


class SlowMachines(Machines):
    """Those whose address is among `slow` answer when they are told to."""

    def __init__(self, *slow: str) -> None:
        super().__init__()
        self.slow = slow

    def connect(self, target: Target, within_s: float) -> Any:
        if target.address not in self.slow:
            return super().connect(target, within_s)
        self.tried.append(target.address)
        self.transports.append(Slow(target))
        return self.transports[-1]


async def test_a_machine_that_does_not_answer_does_not_hold_up_the_next() -> None:
    machines, clock = SlowMachines("127.0.0.1:1"), Clock()
    async with link(machines, ONE, TWO, clock=clock) as it:
        assert (await it.transport(1000.0)).target.address == "127.0.0.2:2"  # type: ignore[attr-defined]
        while not machines.transports[0].closed:  # noqa: ASYNC110  the slow try is given up
            await asyncio.sleep(0)
        assert clock.slept == []
        # The round is over with the last machine: the next one begins with the first.
        machines.slow = ()
        machines.transports[1].end(GONE)
        assert (await it.transport(1000.0)).target.address == "127.0.0.1:1"  # type: ignore[attr-defined]
    assert machines.tried == ["127.0.0.1:1", "127.0.0.2:2", "127.0.0.1:1"]


async def test_the_machine_after_the_one_that_is_lost_is_next_although_it_was_tried_beside_it() -> None:
    machines = SlowMachines("127.0.0.1:1", "127.0.0.2:2")
    async with link(machines, ONE, TWO) as it:
        while len(machines.transports) < 2:  # noqa: ASYNC110  both are under way
            await asyncio.sleep(0)
        for transport in list(machines.transports):  # both open at once: the first is taken
            transport.answers.set()  # type: ignore[attr-defined]
        first = await it.transport(1000.0)
        assert first is machines.transports[0]
        while not machines.transports[1].closed:  # noqa: ASYNC110
            await asyncio.sleep(0)
        machines.slow = ()
        machines.transports[0].end(GONE)
        await it.transport(1000.0)
    assert machines.tried == ["127.0.0.1:1", "127.0.0.2:2", "127.0.0.2:2"]


async def test_a_lost_stream_is_followed_by_one_at_the_next_address() -> None:
    machines, told = Machines(), list[bool]()
    async with link(machines, ONE, TWO, on_change=told.append) as it:
        first = await it.transport(1.0)
        assert it.down_since is None
        assert await it.transport(1.0) is first
        machines.transports[0].end(GONE)
        # Known to the sample before the link's own task runs.
        assert it.down_since is not None
        second = await it.transport(1.0)
        assert second is not first
        assert str(it.unavailable_error()) == "gone"
    assert machines.tried == ["127.0.0.1:1", "127.0.0.2:2"]
    assert told == [True, False, True, False]


async def test_a_cloud_may_be_left_for_its_silence_only_where_there_is_another() -> None:
    for addresses in ((ONE,), (ONE, TWO)):
        machines, patience = Machines(), AnswerPatience()
        async with link(machines, *addresses, patience=patience) as it:
            await it.transport(1.0)
        assert machines.transports[0].patience is (patience if len(addresses) > 1 else None)


async def test_pauses_are_short_again_after_a_stream_that_lived() -> None:
    machines, clock = Machines(*[GONE] * 20), Clock()
    async with link(machines, ONE, clock=clock) as it:
        await it.transport(1.0)
        clock.now += 60.0
        machines.transports[-1].end(GONE)
        await it.transport(1.0)
        assert clock.slept[20] <= 0.1
        # One that is dropped at once is as good as none.
        for _ in range(12):
            machines.transports[-1].end(GONE)
            await it.transport(1.0)
        assert max(clock.slept[26:]) > 0.4


async def test_a_cloud_that_asks_to_be_left_alone_is_unless_there_is_another() -> None:
    busy = CloudUnavailable("busy")
    busy.retry_after_s = 7.0
    clock = Clock()
    async with link(Machines(busy), ONE, clock=clock) as it:
        await it.transport(100.0)
    assert 7.0 <= clock.slept[0] <= 7.1
    clock = Clock()
    async with link(Machines(busy, GONE), ONE, TWO, clock=clock) as it:
        await it.transport(100.0)
    assert max(clock.slept) < 1.0


async def test_no_stream_in_time_says_where_none_was() -> None:
    class Never(Scripted):
        async def open(self, on_lost: Callable[[NeucodexError], None], patience: AnswerPatience | None) -> Ready:
            await asyncio.Event().wait()
            raise AssertionError

    async with link(Machines(), ONE, TWO) as it:
        it._connect = lambda target, within_s: Never(target, None)  # type: ignore[method-assign,assignment]
        with pytest.raises(TimeoutError):
            await it.transport(0.0)
        assert str(it.unavailable_error()).startswith(
            "no cloud at 127.0.0.1:1 or 127.0.0.2:2 within 5 s: start `neucodex-cloud"
        )


async def test_a_refusal_counts_when_every_cloud_refuses() -> None:
    machines = Machines(REFUSED, REFUSED)
    async with link(machines, ONE, TWO) as it:
        with pytest.raises(CloudRefused):
            await it.transport(1.0)
        assert machines.tried == ["127.0.0.1:1", "127.0.0.2:2"]
    async with link(Machines(REFUSED, GONE, REFUSED), ONE, TWO) as it:
        assert (await it.transport(1.0)).target.address == "127.0.0.2:2"  # type: ignore[attr-defined]


async def test_an_error_is_raised_once() -> None:
    machines = Machines(None, *[REFUSED] * 4)
    async with link(machines, ONE) as it:
        await it.transport(1.0)
        machines.transports[0].end(GONE)
        raised = [it.unavailable_error(), it.unavailable_error()]
        for _ in range(2):
            with pytest.raises(CloudRefused, match="another bundle") as caught:
                await it.transport(1.0)
            raised.append(caught.value)
    assert len({id(error) for error in (GONE, REFUSED, *raised)}) == 6


@pytest.mark.parametrize("lost", [False, True])
async def test_a_link_that_is_closed_says_so_to_who_waits_and_who_asks(lost: bool) -> None:
    class Ticking(Clock):
        def __call__(self) -> float:
            self.now += 0.1
            return self.now

        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    machines = Machines()
    async with link(machines, ONE, clock=Ticking()) as it:
        await it.transport(1.0)
        if lost:
            machines.transports[0].end(GONE)
        waiting = asyncio.create_task(it.transport(60.0)) if lost else None
        await asyncio.sleep(0)
        await it.close()
        for asked in (waiting, it.transport(60.0)):
            if asked is not None:
                with pytest.raises(CloudUnavailable, match="this edge was closed"):
                    await asked


async def test_a_link_ends_although_its_try_loses_the_cancellation() -> None:
    class Deaf(Scripted):
        async def open(self, on_lost: Callable[[NeucodexError], None], patience: AnswerPatience | None) -> Ready:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise GONE from None
            raise AssertionError

    async with link(Machines(), ONE, TWO) as it:
        it._connect = lambda target, within_s: Deaf(target, None)  # type: ignore[method-assign,assignment]
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_names_are_tried_machine_by_machine() -> None:
    targets = await resolve([("localhost", 7), ("127.0.0.1", 8)], random.Random(0))
    assert targets[-1] == Target("127.0.0.1:8", "127.0.0.1:8")
    assert Target("127.0.0.1:7", "localhost:7") in targets
    assert len({target.address for target in targets}) == len(targets)


async def test_an_unknown_name() -> None:
    with pytest.raises(CloudUnavailable, match=r"x:9 \(.*--cloud"):
        await resolve([("x" * 64, 9)], random.Random(0))


def test_pauses_are_spread_from_zero_and_bounded() -> None:
    backoff = Backoff(0.1, 3.0, random.Random(1))
    for failures, most in ((0, 0.1), (3, 0.8), (5, 3.0), (10_000, 3.0)):
        pauses = [backoff.pause_s(failures) for _ in range(500)]
        assert min(pauses) < 0.05 * most
        assert 0.9 * most < max(pauses) <= most


async def test_an_unforeseen_failure_is_raised_and_not_waited_for() -> None:
    def broken(target: Target, within_s: float) -> Any:
        raise ZeroDivisionError

    it = CloudLink([ONE], broken, 5.0, Backoff())
    it.start()
    with pytest.raises(ZeroDivisionError):
        await it.transport(60.0)
    with pytest.raises(ZeroDivisionError):
        await it.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


async def test_what_stays_wrong_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    machines = Machines(*[REFUSED] * 20)
    async with link(machines, ONE, TWO) as it:
        while it.current is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert await it.transport(1.0)
    assert warnings(caplog) == ["another bundle"]


async def test_why_there_is_no_stream_again_is_said_once_for_each_reason_and_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    expired, unreadable = CloudUnavailable("expired"), ConfigError("--token-file t: cannot be read")
    machines, clock = Machines(None, *[expired, unreadable] * 5, None, expired), Clock()
    async with link(machines, ONE, clock=clock) as it:
        for _ in range(2):
            await it.transport(100.0)
            machines.transports[-1].end(GONE)
        await it.transport(100.0)
    reasons = ["gone; connecting again", "expired", "--token-file t: cannot be read"]
    assert warnings(caplog) == [*reasons, *reasons[:2]]


@pytest.mark.parametrize("lost", [False, True])
async def test_the_error_says_why_the_last_try_failed(lost: bool) -> None:
    machines = Machines(*[None] * lost, GONE, *[ConfigError("--token-file t: cannot be read")] * 100)
    async with link(machines, ONE) as it:
        if lost:
            await it.transport(1.0)
            machines.transports[0].end(CloudUnavailable("drained"))
        while len(machines.tried) < 3 + lost:  # noqa: ASYNC110  the one before has failed by then
            await asyncio.sleep(0)
        said = str(it.unavailable_error())
    assert said.startswith("drained; " if lost else "no cloud at 127.0.0.1:1 within 5 s: ")
    assert said.endswith("; the last try: --token-file t: cannot be read")
