"""A sample's frames as they go over the wire: made in order by head and codec, in the head's thread or in this one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_client.heads.base import Frames, Head, HeadRun
from shared.spike_codec import Past, SpikeCodec

T = TypeVar("T")


@dataclass(frozen=True)
class EncodedFrame:
    """The frame of one timestep as it goes over the wire, and what it cost to make."""

    codec: int
    spikes: bytes
    head_s: float
    encode_s: float


class HeadThread:
    """The one thread that runs the head beside the event loop; made when it is first needed.

    Args:
        alone: there is one sample at a time, so nothing suffers when the loop's own thread runs the head.
    """

    def __init__(self, alone: bool) -> None:
        self._alone = alone
        self._busy = 0
        self._pool: ThreadPoolExecutor | None = None

    @property
    def not_needed(self) -> bool:
        """Whether the loop's thread may run the head: nobody waits for the loop, and the head is idle."""
        return self._alone and self._busy == 0

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do `work` there, after what was handed over before."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="head")
        self._busy += 1
        done = asyncio.get_running_loop().run_in_executor(self._pool, work)
        done.add_done_callback(self._one_less)
        return done

    def close(self) -> None:
        """End it after the step that it is at."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _one_less(self, _: asyncio.Future[T]) -> None:
        self._busy -= 1


class SampleFrames:
    """The frames of one sample, from its input on. It alone holds the sample's membranes and codec past.

    Args:
        head: starts the sample when its first frame is made; that time counts for the first frame.
        pixels: the sample's input.
        codec: of the bundle.
        thread: shared by all samples.
        on_made: called in the loop's thread for each frame that was made in the head's.
        clock: seconds.
    """

    def __init__(
        self,
        head: Head,
        pixels: Frames,
        codec: SpikeCodec,
        thread: HeadThread,
        on_made: Callable[[], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.made: list[EncodedFrame] = []
        self._head = head
        self._pixels = pixels
        self._codec = codec
        self._thread = thread
        self._on_made = on_made
        self._clock = clock
        self._run: HeadRun | None = None
        self._past: Past | None = None
        self._spikes: NDArray[np.float32] | None = None
        self._wanted = 0
        self._making: asyncio.Future[EncodedFrame | None] | None = None
        self._dropped = False
        self._failure: BaseException | None = None

    @property
    def making(self) -> bool:
        """Whether a frame is being made in the head's thread."""
        return self._making is not None

    def want(self, count: int) -> None:
        """Have frames made in the head's thread until there are so many; never fewer than were wanted before."""
        self._wanted = max(self._wanted, count)
        if self._making is None and len(self.made) < self._wanted:
            self._making = self._thread.run(self._make_if_wanted)
            self._making.add_done_callback(self._take)

    def drop(self) -> None:
        """No more frames are wanted; one that is being made is the last, and nobody is told of it.

        Whoever is told holds these frames and is held by them: let go here, a sample's membranes are freed with its
        verdict, not when the garbage collector comes by.
        """
        self._dropped = True
        self._on_made = _nobody

    async def get(self, index: int) -> EncodedFrame:
        """Frame number `index` (from 0), made now if it was not made ahead."""
        while len(self.made) <= index:
            if self._making is None and self._thread.not_needed:
                self.made.append(self._make())
            else:
                self.want(index + 1)
                await self._settled()
        return self.made[index]

    async def hold(self) -> None:
        """Make nothing more ahead of need, and wait for the frame that is being made, if one is."""
        self._wanted = 0
        await self._settled()

    def mean_spikes(self) -> NDArray[np.float32]:
        """The mean [C', H', W'] of the spikes of all frames made, in 0..1: at least one, and none in the making."""
        assert self._spikes is not None
        assert self._making is None
        return self._spikes / np.float32(len(self.made))

    async def _settled(self) -> None:
        if self._making is not None:
            await asyncio.wait({self._making})
        if self._failure is not None:
            raise self._failure

    def _take(self, done: asyncio.Future[EncodedFrame | None]) -> None:
        self._making = None
        if done.cancelled():  # the thread was closed before it came to this frame
            return
        self._failure = done.exception()
        if self._failure is None:
            frame = done.result()
            if frame is None:
                return
            self.made.append(frame)
            if not self._dropped:
                self.want(self._wanted)
        self._on_made()

    def _make_if_wanted(self) -> EncodedFrame | None:
        return None if self._dropped else self._make()

    def _make(self) -> EncodedFrame:
        began = self._clock()
        if self._run is None:
            self._run = self._head.start(self._pixels)
        spikes = self._run.step()
        stepped = self._clock()
        codec, data = self._codec.encode(spikes, self._past)
        self._past = self._codec.after(self._past, spikes)
        self._spikes = spikes.astype(np.float32) if self._spikes is None else self._spikes + spikes
        return EncodedFrame(codec, data, stepped - began, self._clock() - stepped)


def _nobody() -> None:
    """Is told of frames that nobody waits for."""
