"""From logits to confidences, whatever computed the logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cloud_server.tails.base import Confidences


def softmax(logits: NDArray[np.float32]) -> Confidences:
    """Softmax over the last axis, in float32."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    confidences: Confidences = shares / shares.sum(axis=-1, keepdims=True)
    return confidences


def total_weights(leak: float, timesteps: int) -> list[float]:
    """1, 1 + leak, 1 + leak + leak^2, ...: the divisors of the readout's sum of logits after timestep 1, 2, 3, ..."""
    weights = [1.0]
    while len(weights) < timesteps:
        weights.append(1.0 + leak * weights[-1])
    return weights
