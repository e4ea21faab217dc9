"""A whole network on one machine, stepped to its exit: what edge only and cloud only run.

The head is what the edge runs it with (onnxruntime where the bundle has its graphs), the rest is the cloud's tail on a
CPU: both sides compute with the forms that the pair is measured with.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud_server.config import CloudConfig
from cloud_server.tails.base import Tail
from cloud_server.tails.factory import make_tail
from edge_client.heads.base import Head
from edge_client.heads.factory import open_head
from edge_client.heads.runtime import Runtime
from shared.bundle import Bundle
from shared.exit_policy import ExitPolicy


@dataclass(frozen=True)
class NetworkAnswer:
    """Confidences [classes] of each timestep that was computed; the answer is the last one's."""

    confidences: tuple[NDArray[np.float32], ...]

    @property
    def prediction(self) -> int:
        """The class of the last timestep."""
        return int(self.confidences[-1].argmax())


class TailRun:
    """One sample in a tail: its state between timesteps."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._state: Any = tail.slots(1).fresh(1)
        self._timestep = 0

    def step(self, spikes: NDArray[Any]) -> NDArray[np.float32]:
        """The confidences [classes] after one more timestep of features [C, H, W]."""
        self._timestep += 1
        stepped = self._tail.step([spikes], [self._timestep], self._state)
        self._state = stepped.state
        confidences: NDArray[np.float32] = stepped.confidences[0]
        return confidences


class WholeNetwork:
    """Head and tail of a bundle in one process, with so many threads.

    Raises:
        BundleError: a half is missing or damaged.
    """

    def __init__(self, bundle: Bundle, threads: int, runtime: Runtime = "auto") -> None:
        self.head: Head = open_head(bundle, runtime, threads)
        self.tail: Tail = make_tail(bundle, CloudConfig((bundle.path,)))
        self.tail.use_threads(threads)
        self._spec = bundle.manifest.network
        self._policy = bundle.settings.exit_policy
        self.classify(np.ones(self._spec.sample_shape, np.uint8), early_exit=False)

    def classify(self, pixels: NDArray[np.uint8], *, early_exit: bool) -> NetworkAnswer:
        """A picture [C, H, W] to its answer: at the bundle's own exit, or at T."""
        return NetworkAnswer(tuple(self._steps(pixels, self._policy if early_exit else None)))

    def step_seconds(self, pixels: NDArray[np.uint8], repeats: int) -> float:
        """The median time of a timestep of the whole network; the first convolution's share is in it."""
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            self.classify(pixels, early_exit=False)
            times.append((time.perf_counter() - began) / self._spec.timesteps)
        return float(np.median(times))

    def _steps(self, pixels: NDArray[np.uint8], policy: ExitPolicy | None) -> Iterator[NDArray[np.float32]]:
        run, rest = self.head.start(pixels), TailRun(self.tail)
        for _ in range(self._spec.timesteps):
            confidences = rest.step(run.step())
            yield confidences
            if policy is not None and policy.should_stop(tuple(confidences.tolist())):
                return
