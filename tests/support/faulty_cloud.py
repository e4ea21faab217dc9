"""`python -m tests.support.faulty_cloud`: a cloud whose engine fails on one certain frame, whoever sends it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_server.__main__ import main
from cloud_server.state_slots import Rows
from cloud_server.tail import Stepped, Tail
from shared.network_spec import Shape
from shared.spike_codec import Spikes


def poison(shape: Shape) -> NDArray[np.uint8]:
    """The frame [C, H, W] that it cannot step: every position spikes."""
    return np.ones(shape, np.uint8)


def _break(tail: type[Tail]) -> None:
    sound = tail.step

    def step(self: Tail, frames: Sequence[Spikes], timesteps: Sequence[int], state: Rows) -> Stepped:
        stepped = sound(self, frames, timesteps, state)  # after the state was overwritten: a retry must not see that
        if any(frame.all() for frame in frames):
            raise RuntimeError("poisoned")
        return stepped

    tail.step = step  # type: ignore[method-assign]


if __name__ == "__main__":
    _break(Tail)
    main()
