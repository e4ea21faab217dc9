"""The queue of messages that wait to be written to a stream."""

from __future__ import annotations

import asyncio

import grpc

from cloud_server.rpc.send_queue import SendQueue
from cloud_server.rpc.stream_status import StreamStatus
from shared.messages import Ready

DRAINING = StreamStatus(grpc.StatusCode.UNAVAILABLE, "draining")


async def test_messages_come_in_order_and_then_the_end() -> None:
    queue = SendQueue(2)
    for number in (1, 2, 3):
        queue.put(Ready(number, 0))
    queue.end(StreamStatus())
    queue.put(Ready(4, 0))
    assert [message.max_open_samples async for message in queue.messages()] == [1, 2, 3]
    assert queue.status == StreamStatus()


async def test_the_first_end_holds() -> None:
    queue = SendQueue(2)
    assert queue.status is None
    queue.end(DRAINING)
    queue.end(StreamStatus())
    assert queue.status is DRAINING


async def test_the_reader_of_frames_waits_for_room() -> None:
    queue = SendQueue(2)
    await queue.room.wait()
    queue.put(Ready(1, 0))
    await queue.room.wait()
    queue.put(Ready(2, 0))
    waiting = asyncio.create_task(queue.room.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    messages = queue.messages()
    await anext(messages)
    await waiting
    assert len(queue) == 1


async def test_the_end_lets_a_waiting_reader_go() -> None:
    queue = SendQueue(1)
    queue.put(Ready(1, 0))
    waiting = asyncio.create_task(queue.room.wait())
    await asyncio.sleep(0)
    queue.end(StreamStatus())
    await waiting


async def test_who_waits_for_messages_gets_the_next() -> None:
    queue = SendQueue(1)
    waiting = asyncio.create_task(anext(queue.messages()))
    await asyncio.sleep(0)
    queue.put(Ready(7, 0))
    assert (await waiting).max_open_samples == 7
