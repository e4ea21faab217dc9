"""What a bundle must answer: inputs, their frames as an edge sends them, and the confidences after every timestep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.bundle import Bundle
from tests.support.bundles import load_split, random_inputs, reference_confidences, wire_frames

SAMPLES = 6
SEED = 7
TOLERANCE = 1e-5
"""Folding rounds differently and batches add in another order: with the same spikes confidences agree to this."""


def known_frames(bundle: Bundle) -> NDArray[np.uint8]:
    """Spikes on the wire, [T, SAMPLES, C, H, W]."""
    network = load_split(bundle)
    return wire_frames(network, random_inputs(network.spec, SAMPLES, SEED))


def known_confidences(bundle: Bundle) -> NDArray[np.float32]:
    """What the cloud answers to them, [T, SAMPLES, classes]."""
    network = load_split(bundle)
    confidences: NDArray[np.float32] = reference_confidences(
        network, random_inputs(network.spec, SAMPLES, SEED)
    ).numpy()
    return confidences


def assert_close(confidences: Sequence[float], expected: NDArray[np.float32], sample: int, timestep: int) -> None:
    """The answer to a frame is the reference's."""
    assert np.allclose(confidences, expected[timestep - 1, sample], atol=TOLERANCE, rtol=0)
