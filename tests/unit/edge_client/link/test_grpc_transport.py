"""A stream and its samples' handles on a scripted call: what waits, what is written when, and why it ended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from edge_client.link.base import Reply
from edge_client.link.grpc_transport import GrpcTransport
from edge_client.link.patience import AnswerPatience
from shared.errors import CloudUnavailable, NeucodexError
from shared.messages import Codec, EdgeMessage, Frame, Ready, Rejection, RejectionCode, StepResult, Stop

GONE = CloudUnavailable("gone")


class ScriptedCall:
    """Writes while `gate` is open; reads what the test says."""

    address = "nowhere:1"

    def __init__(self) -> None:
        self.written: list[tuple[EdgeMessage, ...]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.wrote = asyncio.Event()
        self._incoming: asyncio.Queue[Reply | NeucodexError] = asyncio.Queue()

    async def open(self) -> Ready:
        return Ready(4, 1000)

    async def write(self, message: EdgeMessage, stops: Sequence[Stop] = ()) -> None:
        await self.gate.wait()
        self.written.append((*stops, message))
        self.wrote.set()

    async def read(self) -> Reply:
        incoming = await self._incoming.get()
        if isinstance(incoming, NeucodexError):
            raise incoming
        return incoming

    async def close(self) -> None:
        pass

    def say(self, *incoming: Reply | NeucodexError) -> None:
        for each in incoming:
            self._incoming.put_nowait(each)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[ScriptedCall, GrpcTransport]]:
    call = ScriptedCall()
    transport = GrpcTransport(call)
    await transport.open()
    try:
        yield call, transport
    finally:
        await transport.close()


def frame(sample: int, timestep: int = 1) -> Frame:
    return Frame(sample, timestep, Codec.PACKED_BITS, b"\x05")


def answer(sample: int, timestep: int = 1) -> StepResult:
    return StepResult(sample, timestep, (0.5, 0.5))


async def test_samples_get_numbers_of_their_own() -> None:
    async with opened() as (_, transport):
        assert [transport.open_sample().number for _ in range(3)] == [1, 2, 3]


async def test_answers_come_in_order_before_the_reason_why_there_are_no_more() -> None:
    async with opened() as (call, transport):
        sample = transport.open_sample()
        call.say(answer(1), answer(1, 2), GONE)
        while transport.close_reason is None:  # noqa: ASYNC110  the reader's task is on its way
            await asyncio.sleep(0)
        assert sample.has_answer
        assert [await sample.receive(0.0), await sample.receive(0.0)] == [answer(1), answer(1, 2)]
        for _ in range(2):
            with pytest.raises(CloudUnavailable, match="gone"):
                await sample.receive(0.0)
        with pytest.raises(CloudUnavailable, match="gone"):
            sample.send(frame(1))
        with pytest.raises(CloudUnavailable, match="gone"):
            transport.open_sample()


async def test_a_sample_that_waits_is_woken_by_its_own_answer_and_by_the_end() -> None:
    async with opened() as (call, transport):
        first, second = transport.open_sample(), transport.open_sample()
        waiting = [asyncio.create_task(sample.receive(math.inf)) for sample in (first, second)]
        await asyncio.sleep(0)
        call.say(answer(2))
        assert await waiting[1] == answer(2)
        assert not waiting[0].done()
        call.say(GONE)
        with pytest.raises(CloudUnavailable):
            await waiting[0]


async def test_time_is_up_and_a_late_answer_still_counts() -> None:
    async with opened() as (call, transport):
        sample = transport.open_sample()
        with pytest.raises(TimeoutError):
            await sample.receive(0.01)
        call.say(answer(1))
        assert await sample.receive(math.inf) == answer(1)
        call.say(answer(1, 2))
        while not sample.has_answer:  # noqa: ASYNC110  the reader's task is on its way
            await asyncio.sleep(0)
        assert await sample.receive(-1.0) == answer(1, 2)


async def test_waiting_can_be_cancelled_and_begun_again() -> None:
    async with opened() as (call, transport):
        sample = transport.open_sample()
        waiting = asyncio.create_task(sample.receive(math.inf))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        call.say(answer(1))
        assert await sample.receive(math.inf) == answer(1)


async def test_a_flushed_sample_says_so_once_and_only_to_the_last_who_asked() -> None:
    async with opened() as (call, transport):
        sample, said = transport.open_sample(), list[str]()
        sample.when_flushed(lambda: said.append("nothing was sent"))
        call.gate.clear()
        sample.send(frame(1))
        sample.send(frame(1, 2))
        sample.when_flushed(lambda: said.append("replaced"))
        left = asyncio.Event()
        sample.when_flushed(left.set)
        await asyncio.sleep(0)
        assert (said, left.is_set()) == (["nothing was sent"], False)
        call.gate.set()
        await left.wait()
        assert call.written == [(frame(1),), (frame(1, 2),)]


async def test_a_stopped_sample_is_not_told_that_it_is_flushed() -> None:
    async with opened() as (call, transport):
        sample, said = transport.open_sample(), list[str]()
        call.gate.clear()
        sample.send(frame(1))
        await asyncio.sleep(0)
        sample.when_flushed(lambda: said.append("flushed"))
        sample.stop()
        call.gate.set()
        await call.wrote.wait()
        await asyncio.sleep(0)
        assert said == []


async def test_a_stop_that_frees_a_slot_waits_for_a_frame_and_an_urgent_one_does_not() -> None:
    async with opened() as (call, transport):
        calm, urgent, last = (transport.open_sample() for _ in range(3))
        for sample in (calm, urgent):
            sample.send(frame(sample.number))
        call.say(answer(1))
        await calm.receive(math.inf)
        assert calm.stop() == []
        last.send(frame(3))
        call.say(answer(3))
        await last.receive(math.inf)
        assert call.written == [(frame(1),), (frame(2),), (Stop(1), frame(3))]
        assert last.stop() == []
        call.wrote.clear()
        assert urgent.stop() == []
        await call.wrote.wait()
        assert call.written[-1] == (Stop(3), Stop(2))


async def test_frames_that_are_answered_when_the_sample_stops_make_no_stop_urgent() -> None:
    async with opened() as (call, transport):
        sample, other = transport.open_sample(), transport.open_sample()
        for timestep in (1, 2):
            sample.send(frame(1, timestep))
        call.say(answer(1), answer(1, 2))
        await sample.receive(math.inf)
        while not sample.has_answer:  # noqa: ASYNC110  the reader's task is on its way
            await asyncio.sleep(0)
        assert sample.stop() == []
        other.send(frame(2))
        call.say(answer(2))
        await other.receive(math.inf)
        assert call.written == [(frame(1),), (frame(1, 2),), (Stop(1), frame(2))]


async def test_a_stop_drops_what_has_not_left_and_is_not_sent_for_an_unknown_sample() -> None:
    async with opened() as (call, transport):
        known, unknown = transport.open_sample(), transport.open_sample()
        known.send(frame(1))
        call.say(answer(1))
        await known.receive(math.inf)
        known.send(frame(1, 2))
        unknown.send(frame(2))
        # Nothing was awaited in between, so neither frame has left.
        assert unknown.stop() == [frame(2), Stop(2)]
        assert known.stop() == [frame(1, 2)]
        next_one = transport.open_sample()
        next_one.send(frame(3))
        call.say(answer(3))
        await next_one.receive(math.inf)
        assert call.written == [(frame(1),), (Stop(1), frame(3))]


async def test_a_rejected_sample_needs_no_stop() -> None:
    async with opened() as (call, transport):
        sample = transport.open_sample()
        sample.send(frame(1))
        rejection = Rejection(1, RejectionCode.NO_SLOT, "full", 7)
        call.say(rejection)
        assert await sample.receive(math.inf) == rejection
        assert sample.stop() == [Stop(1)]


async def test_an_answer_for_a_sample_that_has_ended_is_dropped() -> None:
    async with opened() as (call, transport):
        ended, other = transport.open_sample(), transport.open_sample()
        ended.send(frame(1))
        call.say(answer(1))
        await ended.receive(math.inf)
        ended.stop()
        call.say(answer(1, 2), answer(2))
        assert await other.receive(math.inf) == answer(2)
        assert not ended.has_answer


async def test_a_task_that_fails_ends_the_stream() -> None:
    class Broken(ScriptedCall):
        async def read(self) -> Reply:
            raise ZeroDivisionError("unforeseen")

    transport, lost = GrpcTransport(Broken()), asyncio.get_running_loop().create_future()
    await transport.open(lost.set_result)
    assert "failed here: ZeroDivisionError('unforeseen')" in str(await lost)
    await transport.close()


async def test_a_stream_that_owes_an_answer_for_too_long_is_lost() -> None:
    call = ScriptedCall()
    transport, lost = GrpcTransport(call, probe_s=0.01), asyncio.get_running_loop().create_future()
    await transport.open(lost.set_result, AnswerPatience(0.05))
    sample = transport.open_sample()
    sample.send(frame(1))
    with pytest.raises(CloudUnavailable, match=r"nowhere:1 has owed an answer for 0\.\d s \(--leave-after\)"):
        await sample.receive(math.inf)
    assert str(await lost) == str(transport.close_reason)
    await transport.close()


async def test_silence_counts_only_while_an_answer_is_due() -> None:
    ticks = 0

    async def tick(seconds: float) -> None:
        nonlocal ticks
        ticks += 1
        await asyncio.sleep(0)

    call = ScriptedCall()
    transport, patience = GrpcTransport(call, probe_s=0.01, sleep=tick), AnswerPatience(0.5)
    await transport.open(print, patience)
    for number in range(1, 4):
        sample = transport.open_sample()
        sample.send(frame(number))
        call.say(answer(number))
        await sample.receive(math.inf)
        sample.stop()
        for _ in range(100):  # as many ticks are a second, twice the patience, if they were counted
            await asyncio.sleep(0)
    assert transport.close_reason is None
    assert ticks < 50
    sample = transport.open_sample()
    sample.send(frame(4))
    with pytest.raises(CloudUnavailable, match="has owed an answer"):
        await sample.receive(math.inf)
    await transport.close()


async def test_the_link_hears_of_a_loss_once_and_before_the_samples() -> None:
    heard: list[str] = []
    call = ScriptedCall()
    transport = GrpcTransport(call)
    await transport.open(lambda why: heard.append(str(why)))
    sample = transport.open_sample()
    call.say(GONE)
    with pytest.raises(CloudUnavailable, match="gone"):
        await sample.receive(math.inf)
    assert heard == ["gone"]
    await transport.close()
    assert heard == ["gone"]
