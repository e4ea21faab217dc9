"""A whole network on one machine, stepped to its exit: what edge only and cloud only run.

The head is what the edge runs it with (onnxruntime where the bundle has its graphs), the rest is the cloud's tail on a
CPU: both sides compute with the forms that the pair is measured with.
"""

from __future__ import annotations

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

Confidences = NDArray[np.float32]
"""[timesteps, classes]: of each timestep that was computed; the answer is the last one's."""


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
        self._timesteps = bundle.manifest.network.timesteps
        self._policy = bundle.settings.exit_policy
        self.classify(np.ones(bundle.manifest.network.sample_shape, np.uint8), early_exit=False)

    def classify(self, pixels: NDArray[np.uint8], *, early_exit: bool) -> Confidences:
        """A picture [C, H, W] to its confidences: to the bundle's own exit, or to T."""
        run, rest, found = self.head.start(pixels), TailRun(self.tail), []
        for _ in range(self._timesteps):
            found.append(rest.step(run.step()))
            if early_exit and self._policy.should_stop(tuple(found[-1].tolist())):
                break
        return np.stack(found)
