"""The outgoing queue of a stream."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from cloud_server.rpc.outbox import End, Outbox
from shared.messages import Ready

DRAINING = End(grpc.StatusCode.UNAVAILABLE, "draining")


async def test_messages_come_in_order_and_then_the_end() -> None:
    outbox = Outbox(2)
    for number in (1, 2, 3):
        outbox.put(Ready(number, 0))
    outbox.end(End())
    outbox.put(Ready(4, 0))
    assert [message.max_open_samples async for message in outbox.messages()] == [1, 2, 3]
    assert outbox.how == End()


async def test_the_first_end_holds() -> None:
    outbox = Outbox(2)
    assert outbox.how is None
    outbox.end(DRAINING)
    outbox.end(End())
    assert outbox.how is DRAINING


async def test_whoever_reads_frames_waits_for_room() -> None:
    outbox = Outbox(2)
    await outbox.room()
    outbox.put(Ready(1, 0))
    await outbox.room()
    outbox.put(Ready(2, 0))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(outbox.room(), 0.01)
    messages = outbox.messages()
    await anext(messages)
    await outbox.room()
    assert len(outbox) == 1


async def test_the_end_lets_a_waiting_reader_go() -> None:
    outbox = Outbox(1)
    outbox.put(Ready(1, 0))
    waiting = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    outbox.end(End())
    await waiting


async def test_who_waits_for_messages_gets_the_next() -> None:
    outbox = Outbox(1)
    waiting = asyncio.create_task(anext(outbox.messages()))
    await asyncio.sleep(0)
    outbox.put(Ready(7, 0))
    assert (await waiting).max_open_samples == 7
