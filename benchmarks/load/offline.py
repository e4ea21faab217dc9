"""What a served step is compared with: the same tail in a bare loop, in a `WorkerProcess`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud_server.config import CloudConfig, Device, Precision
from cloud_server.tails.factory import make_tail
from shared.bundle import Bundle


class OfflineLoop:
    """A bundle's tail, stepped with nothing around it: no gRPC, no decoding, no gather and scatter of slots.

    Only the step itself is timed: frames lie ready, the state of a batch stays where the last step left it.

    Args:
        bundle: its folder.
        device, precision: as of the cloud.
        max_batch: of the cloud.
        threads: of a step on the CPU.
        spikes: frames, uint8 [picture, T, C, H, W].
    """

    def __init__(
        self,
        bundle: Path,
        device: Device,
        precision: Precision,
        max_batch: int,
        threads: int,
        spikes: NDArray[np.uint8],
    ) -> None:
        self._spikes = spikes
        config = CloudConfig((bundle,), device=device, precision=precision, max_batch=max_batch, slots=max_batch)
        self._tail = make_tail(Bundle.open(bundle), config)
        self._states: dict[int, tuple[int, Any]] = {}
        # A thread beside the main one, as the cloud's engine: the allocator and OpenMP treat the two differently.
        self._thread = ThreadPoolExecutor(1, initializer=self._tail.use_threads, initargs=(threads,))

    async def rate(self, batches: Mapping[int, float], seconds: float) -> float:
        """Steps a second at these batch sizes, each as often as `batches` says; the sizes take turns for `seconds`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._rate, batches, seconds)

    def _rate(self, batches: Mapping[int, float], seconds: float) -> float:
        for size in batches:
            self._step(size)  # the first of a size is slow
        taken: dict[int, list[float]] = {size: [] for size in batches}
        spent = 0.0
        while spent < seconds:
            for size, steps in taken.items():
                steps.append(self._step(size))
                spent += steps[-1]
        return mean_rate(batches, {size: float(np.median(steps)) for size, steps in taken.items()})

    def _step(self, size: int) -> float:
        """Seconds of the next step of the batch of that size."""
        timestep, state = self._states.get(size, (0, None))
        if state is None:
            slots = self._tail.slots(size)
            slots.reset(range(size))
            state = slots.gather(range(size))
        count, timesteps = self._spikes.shape[:2]
        frames = [self._spikes[number % count, timestep] for number in range(size)]
        began = perf_counter()
        state = self._tail.step(frames, [timestep + 1] * size, state).state
        took = perf_counter() - began
        self._states[size] = (timestep + 1, state) if timestep + 1 < timesteps else (0, None)
        return took


def mean_rate(batches: Mapping[int, float], step_s: Mapping[int, float]) -> float:
    """Steps a second of batches of those sizes, each so often and so long."""
    steps = sum(size * often for size, often in batches.items())
    return steps / sum(often * step_s[size] for size, often in batches.items())
