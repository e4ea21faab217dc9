"""Frames made in the loop's thread and in the head's: in order, no more than wanted, and none after the end."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import numpy as np

from edge_client.inference.frame_producer import HeadThread, SampleFrames
from shared.spike_codec import SpikeCodec, Spikes
from tests.unit.edge_client.fakes import SHAPE, CountingHead, sample


class Gated(CountingHead):
    """Starts a sample only when the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def start(self, frames: Any) -> Any:
        assert self.gate.wait(10.0)
        return super().start(frames)


def frames_of(head: CountingHead, thread: HeadThread, on_made: Any = lambda: None) -> SampleFrames:
    return SampleFrames(head, sample().frames, SpikeCodec(SHAPE), thread, on_made)


def spikes(value: int) -> Spikes:
    return np.unpackbits(np.array([value], np.uint8)).reshape(SHAPE)


async def test_made_here_or_ahead_they_are_the_same_in_the_same_order() -> None:
    head, thread, told = CountingHead(), HeadThread(alone=True), list[int]()
    here = frames_of(head, thread)
    assert [(await here.get(index)).spikes[0] for index in range(3)] == [1, 2, 3]
    ahead = frames_of(head, thread, lambda: told.append(1))
    ahead.want(2)
    assert [(await ahead.get(index)).spikes[0] for index in range(3)] == [1, 2, 3]
    assert len(told) >= 2
    assert np.allclose(ahead.mean_spikes(), np.mean([spikes(t) for t in (1, 2, 3)], axis=0))
    thread.close()


async def test_holding_waits_for_the_frame_in_the_making_and_makes_no_other() -> None:
    head, thread = Gated(), HeadThread(alone=True)
    frames = frames_of(head, thread)
    frames.want(4)
    holding = asyncio.create_task(frames.hold())
    await asyncio.sleep(0)
    head.gate.set()
    await holding
    assert len(frames.made) == head.steps == 1
    assert (await frames.get(1)).spikes[0] == 2
    thread.close()


async def test_what_waits_in_a_thread_that_is_closed_is_given_up_quietly() -> None:
    troubles: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
    head, thread = Gated(), HeadThread(alone=False)
    first, second = frames_of(head, thread), frames_of(head, thread)
    first.want(1)
    second.want(1)
    second.drop()
    threading.Timer(0.1, head.gate.set).start()  # when the thread is being closed already
    thread.close()
    await asyncio.sleep(0.01)
    assert not troubles
    assert (len(first.made), len(second.made), head.steps) == (1, 0, 1)


async def test_dropped_frames_let_go_of_whoever_was_told_of_them() -> None:
    class Told:
        frames: SampleFrames

        def of_a_frame(self) -> None:
            """Nothing."""

    head, thread, told = CountingHead(), HeadThread(alone=True), Told()
    told.frames = frames_of(head, thread, told.of_a_frame)
    told.frames.want(1)
    await told.frames.get(0)
    told.frames.drop()
    left = weakref.ref(told)
    gc.disable()  # what only the collector frees is held for too long
    try:
        del told
        assert left() is None
    finally:
        gc.enable()
    thread.close()
