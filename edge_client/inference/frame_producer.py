"""Produces a sample's encoded frames: it runs head and codec, in the head's thread or in the caller's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_client.heads.base import Head, HeadRun, InputArray
from shared.spike_codec import CodecContext, SpikeCodec, Spikes

T = TypeVar("T")


@dataclass(frozen=True)
class EncodedFrame:
    """The encoded spikes of one timestep, and the seconds that head and codec took."""

    codec: int
    spikes: bytes
    head_s: float
    encode_s: float


class HeadExecutor:
    """Runs the head in one thread beside the event loop. The thread starts when it is first needed.

    Args:
        single_sample: there is one sample at a time, so the loop's own thread may run the head and delays no other.
    """

    def __init__(self, single_sample: bool) -> None:
        self._single_sample = single_sample
        self._busy = 0
        self._pool: ThreadPoolExecutor | None = None

    @property
    def can_run_inline(self) -> bool:
        """Whether the loop's thread may run the head: no other sample waits for the loop, and the head is idle."""
        return self._single_sample and self._busy == 0

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run `work` in the thread, after earlier work."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="head")
        self._busy += 1
        done = asyncio.get_running_loop().run_in_executor(self._pool, work)
        done.add_done_callback(self._one_less)
        return done

    def close(self) -> None:
        """End the thread after its current step."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _one_less(self, _: asyncio.Future[T]) -> None:
        self._busy -= 1


class FrameProducer:
    """The frames of one sample. Only this object has the sample's membranes and codec context.

    Args:
        head: starts the sample when the first frame is produced, whose time includes the start.
        pixels: the sample's input.
        codec: of the bundle.
        executor: shared by all samples.
        on_encoded: called in the loop's thread after each frame that the head's thread has encoded.
        clock: seconds.
    """

    def __init__(
        self,
        head: Head,
        pixels: InputArray,
        codec: SpikeCodec,
        executor: HeadExecutor,
        on_encoded: Callable[[], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.encoded: list[EncodedFrame] = []
        """All frames so far; timestep t is at index t - 1."""
        self._head = head
        self._pixels = pixels
        self._codec = codec
        self._executor = executor
        self._on_encoded: Callable[[], None] | None = on_encoded
        self._clock = clock
        self._run: HeadRun | None = None
        self._context: CodecContext | None = None
        """The codec's context of the last frame."""
        self._last_spikes: Spikes | None = None
        self._spike_sums: NDArray[np.float32] | None = None
        self._prefetch = 0
        self.pending: asyncio.Future[EncodedFrame | None] | None = None
        """The frame that the head's thread produces now or next."""
        self._closed = False
        self._failure: BaseException | None = None

    def prefetch(self, count: int) -> None:
        """Produce frames in the head's thread until there are `count`. A smaller number than before changes nothing."""
        self._prefetch = max(self._prefetch, count)
        if self.pending is None and len(self.encoded) < self._prefetch:
            self.pending = self._executor.run(self._encode_unless_closed)
            self.pending.add_done_callback(self._take)

    async def get(self, index: int) -> EncodedFrame:
        """Frame number `index` (from 0), produced now if it was not prefetched.

        Raises:
            Exception: what the head raised in its thread.
        """
        while len(self.encoded) <= index:
            if self.pending is None and self._executor.can_run_inline:
                self.encoded.append(self._encode())
            else:
                self.prefetch(index + 1)
                await self._settled()
        return self.encoded[index]

    async def cancel_prefetch(self) -> None:
        """Prefetch no more, and wait for the frame that is being produced, if there is one."""
        self._prefetch = 0
        await self._settled()

    def mean_spikes(self) -> NDArray[np.float32]:
        """The mean [C', H', W'] of the spikes over all frames so far, in 0..1. There is one, and none is `pending`."""
        assert self._spike_sums is not None
        assert self.pending is None
        return self._spike_sums / np.float32(len(self.encoded))

    def close(self) -> None:
        """Produce no more frames. One that is being produced is the last, and `on_encoded` is not called for it.

        `on_encoded` usually belongs to an object that refers to this one. The reference is dropped here, so that a
        sample's membranes are freed with its verdict, and not when the garbage collector runs.
        """
        self._closed = True
        self._on_encoded = None

    async def _settled(self) -> None:
        if self.pending is not None:
            await asyncio.wait({self.pending})
        if self._failure is not None:
            raise self._failure

    def _take(self, done: asyncio.Future[EncodedFrame | None]) -> None:
        self.pending = None
        if done.cancelled():  # the executor was closed before this frame's turn
            return
        self._failure = done.exception()
        if self._failure is not None:
            return
        frame = done.result()
        if frame is None:
            return
        self.encoded.append(frame)
        if not self._closed:
            self.prefetch(self._prefetch)
        if self._on_encoded is not None:
            self._on_encoded()

    def _encode_unless_closed(self) -> EncodedFrame | None:
        return None if self._closed else self._encode()

    def _encode(self) -> EncodedFrame:
        began = self._clock()
        if self._run is None:
            self._run = self._head.start(self._pixels)
        spikes = self._run.step()
        stepped = self._clock()
        if self._last_spikes is not None:  # not before it is needed: most samples end with their first frame
            self._context = self._codec.next_context(self._context, self._last_spikes)
        codec, data = self._codec.encode(spikes, self._context)
        self._last_spikes = spikes
        self._spike_sums = spikes.astype(np.float32) if self._spike_sums is None else self._spike_sums + spikes
        return EncodedFrame(codec, data, stepped - began, self._clock() - stepped)
