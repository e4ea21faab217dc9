"""Frames from the loop's thread and from the head's: in order, no more than asked for, and none after the end."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import numpy as np

from edge_client.inference.frame_producer import FrameProducer, HeadExecutor
from shared.spike_codec import SpikeCodec, Spikes
from tests.unit.edge_client.fakes import SHAPE, CountingHead, sample


class Gated(CountingHead):
    """Starts a sample only when the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def start(self, pixels: Any) -> Any:
        assert self.gate.wait(10.0)
        return super().start(pixels)


def producer_of(head: CountingHead, executor: HeadExecutor, on_encoded: Any = lambda: None) -> FrameProducer:
    return FrameProducer(head, sample().pixels, SpikeCodec(SHAPE), executor, on_encoded)


def spikes(value: int) -> Spikes:
    return np.unpackbits(np.array([value], np.uint8)).reshape(SHAPE)


async def test_inline_or_prefetched_they_are_the_same_in_the_same_order() -> None:
    head, executor, told = CountingHead(), HeadExecutor(single_sample=True), list[int]()
    here = producer_of(head, executor)
    assert [(await here.get(index)).spikes[0] for index in range(3)] == [1, 2, 3]
    ahead = producer_of(head, executor, lambda: told.append(1))
    ahead.prefetch(2)
    assert [(await ahead.get(index)).spikes[0] for index in range(3)] == [1, 2, 3]
    assert len(told) >= 2
    assert np.allclose(ahead.mean_spikes(), np.mean([spikes(t) for t in (1, 2, 3)], axis=0))
    executor.close()


async def test_cancelling_waits_for_the_frame_that_is_being_encoded_and_encodes_no_other() -> None:
    head, executor = Gated(), HeadExecutor(single_sample=True)
    producer = producer_of(head, executor)
    producer.prefetch(4)
    cancelling = asyncio.create_task(producer.cancel_prefetch())
    await asyncio.sleep(0)
    head.gate.set()
    await cancelling
    assert len(producer.encoded) == head.steps == 1
    assert (await producer.get(1)).spikes[0] == 2
    executor.close()


async def test_what_waits_in_a_thread_that_is_closed_is_given_up_quietly() -> None:
    troubles: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
    head, executor = Gated(), HeadExecutor(single_sample=False)
    first, second = producer_of(head, executor), producer_of(head, executor)
    first.prefetch(1)
    second.prefetch(1)
    second.close()
    closing = asyncio.create_task(asyncio.to_thread(executor.close))
    await asyncio.sleep(0)
    head.gate.set()
    await closing
    async with asyncio.timeout(10.0):
        while not first.encoded or second.pending is not None:  # noqa: ASYNC110  their callbacks are on their way
            await asyncio.sleep(0)
    assert not troubles
    assert (len(first.encoded), len(second.encoded), head.steps) == (1, 0, 1)


async def test_a_closed_producer_lets_go_of_the_object_that_it_called() -> None:
    class Told:
        producer: FrameProducer

        def of_a_frame(self) -> None:
            """Nothing."""

    head, executor, told = CountingHead(), HeadExecutor(single_sample=True), Told()
    told.producer = producer_of(head, executor, told.of_a_frame)
    told.producer.prefetch(1)
    await told.producer.get(0)
    told.producer.close()
    left = weakref.ref(told)
    gc.disable()  # what only the collector frees is held for too long
    try:
        del told
        assert left() is None
    finally:
        gc.enable()
    executor.close()
