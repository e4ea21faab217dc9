"""What a served step is compared with: the same tail in a bare loop, in a process of its own (see `worker`)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud_server.config import CloudConfig, Device, Precision
from cloud_server.tails.factory import make_tail
from shared.bundle import Bundle


@dataclass(frozen=True)
class Offline:
    """How fast the bare loop was; `step_us` is the median microseconds of a step of each batch size."""

    steps_per_second: float
    step_us: Mapping[int, float]
    steps: int


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

    def rate(self, batches: Mapping[int, float], seconds: float) -> Offline:
        """Step batches of these sizes, as often as `batches` says relative to each other, for some seconds of steps."""
        return self._thread.submit(self._rate, batches, seconds).result()

    def _rate(self, batches: Mapping[int, float], seconds: float) -> Offline:
        for size in batches:
            self._step(size)  # the first of a size is slow
        taken: dict[int, list[float]] = {size: [] for size in batches}
        spent, steps = 0.0, 0
        for size in in_proportion(batches):
            took = self._step(size)
            taken[size].append(took)
            spent += took
            steps += size
            if spent >= seconds:
                break
        medians = {size: round(float(np.median(values)) * 1e6, 1) for size, values in taken.items() if values}
        return Offline(steps / spent, medians, steps)

    def _step(self, size: int) -> float:
        """Seconds of the next step of the batch of that size."""
        timestep, state = self._states.get(size, (0, None))
        if state is None:
            slots = self._tail.slots(size)
            slots.reset(range(size))
            timestep, state = 0, slots.gather(range(size))
        count, timesteps = self._spikes.shape[:2]
        frames = [self._spikes[number % count, timestep] for number in range(size)]
        began = time.perf_counter()
        state = self._tail.step(frames, [timestep + 1] * size, state).state
        took = time.perf_counter() - began
        self._states[size] = (timestep + 1, state) if timestep + 1 < timesteps else (0, None)
        return took


def in_proportion(batches: Mapping[int, float]) -> Iterator[int]:
    """Batch sizes without end, each as often as its share says, evenly mixed (error diffusion)."""
    total = sum(batches.values())
    owed = dict.fromkeys(batches, 0.0)
    for _ in itertools.count():
        for size, weight in batches.items():
            owed[size] += weight / total
        chosen = max(owed, key=owed.__getitem__)
        owed[chosen] -= 1.0
        yield chosen
