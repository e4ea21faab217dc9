"""What a bundle must answer: inputs, their frames as an edge sends them, and the confidences after every timestep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from shared.bundle import Bundle
from tests.support.bundles import load_split, random_inputs, reference_confidences, wire_frames
from training.execute import execute_bundle

SAMPLES = 6
SEED = 7
TOLERANCE = 1e-5
"""Folding rounds differently and batches add in another order: with the same spikes confidences agree to this."""


def known_frames(bundle: Bundle) -> NDArray[np.uint8]:
    """Spikes on the wire in the bundle's execution, [T, SAMPLES, C, H, W]."""
    inputs = random_inputs(bundle.manifest.network, SAMPLES, SEED)
    if bundle.execution == "spiking":
        return wire_frames(load_split(bundle), inputs)
    with torch.inference_mode():
        return execute_bundle(bundle).frames(inputs).numpy().astype(np.uint8)


def known_confidences(bundle: Bundle) -> NDArray[np.float32]:
    """What the cloud answers to them, [T, SAMPLES, classes]."""
    inputs = random_inputs(bundle.manifest.network, SAMPLES, SEED)
    if bundle.execution == "spiking":
        return np.asarray(reference_confidences(load_split(bundle), inputs))
    with torch.inference_mode():
        executed = execute_bundle(bundle)
        return torch.softmax(executed.logits(executed.frames(inputs)), dim=-1).numpy()


def assert_close(confidences: Sequence[float], expected: NDArray[np.float32], sample: int, timestep: int) -> None:
    """The answer to a frame is the reference's."""
    assert np.allclose(confidences, expected[timestep - 1, sample], atol=TOLERANCE, rtol=0)
