"""The exit that the edge has to itself: a small classifier on the encoder's spikes, for when there is no cloud."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.exit_policy import ExitPolicy


class LocalExit(Protocol):
    """A classifier on the spikes that would cross the link. It keeps nothing between calls.

    `policy` says from which confidences on its answer stands by itself.
    """

    @property
    def policy(self) -> ExitPolicy:
        """Calibrated for this exit, not for the cloud's."""

    def confidences(self, mean_spikes: NDArray[np.float32]) -> tuple[float, ...]:
        """Of all classes in order, from the mean [C', H', W'] of the encoder's spikes over the timesteps so far."""


def open_local_exit(bundle: Bundle) -> LocalExit | None:  # noqa: ARG001
    """The local exit of a bundle; None for a bundle without, as all of this version are."""
    return None
