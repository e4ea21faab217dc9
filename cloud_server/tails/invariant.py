"""A `spiking` tail whose answer to a sample has the same bits in every batch.

On one thread oneDNN computes the same bits for a sample in any batch of two or more. A single sample runs through other
kernels, for small convolutions and for the readout, which add in another order; sometimes that flips a spike. So this
tail steps a single sample as two equal ones. The result is exact, and the step of a single sample takes up to twice as
long.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cloud_server.tails.membranes import SpikingState
from cloud_server.tails.traced import TracedTail


class InvariantTail(TracedTail):
    """A `TracedTail` that never steps a batch of one. Its steps must run on one thread."""

    def compute(self, spikes: Tensor, weights: Tensor, state: SpikingState) -> Tensor:
        if len(spikes) > 1:
            return super().compute(spikes, weights, state)
        parts = (*state.membranes, state.logits)
        *membranes, logits = (torch.cat([part, part]) for part in parts)
        twice = SpikingState(tuple(membranes), logits, logits)
        confidences = super().compute(torch.cat([spikes, spikes]), torch.cat([weights, weights]), twice)
        for kept, after in zip(parts, (*membranes, logits), strict=True):
            kept.copy_(after[:1])
        return confidences[:1]
