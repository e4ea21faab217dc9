"""`python -m tests.support.faulty_cloud`: a cloud whose engine fails on one certain frame.

After another it fails for good: of several processes the one that got it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_server.__main__ import main
from cloud_server.tails.base import StepOutput
from cloud_server.tails.membranes import SpikingState
from cloud_server.tails.spiking import SpikingTail
from shared.network_spec import Shape
from shared.spike_codec import Spikes


def poison(shape: Shape) -> NDArray[np.uint8]:
    """The frame [C, H, W] that it cannot step: every position spikes."""
    return np.ones(shape, np.uint8)


def last_straw(shape: Shape) -> NDArray[np.uint8]:
    """The frame [C, H, W] after which it steps nothing any more."""
    frame = poison(shape)
    frame.flat[0] = 0
    return frame


def _break(tail: type[SpikingTail]) -> None:
    sound = tail.step
    broken = False

    def step(
        self: SpikingTail, frames: Sequence[Spikes], timesteps: Sequence[int], state: SpikingState
    ) -> StepOutput[SpikingState]:
        nonlocal broken
        stepped = sound(self, frames, timesteps, state)  # after the state was overwritten: a retry must not see that
        broken = broken or any(np.array_equal(frame, last_straw(frame.shape)) for frame in frames)
        if broken or any(frame.all() for frame in frames):
            raise RuntimeError("poisoned")
        return stepped

    tail.step = step  # type: ignore[method-assign]


if __name__ in ("__main__", "__mp_main__"):
    _break(SpikingTail)

if __name__ == "__main__":
    main()
