"""The tail whose answer to a sample is the same, bit for bit, whoever else is in the batch.

On one thread oneDNN gives a sample the same bits in any batch of two or more. A sample alone goes through other
kernels, for small convolutions and for the readout, that add in another order; now and then a spike flips by that. So
this tail steps a sample alone as two that are alike: exact, and a lone sample's step takes up to twice as long.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cloud_server.tails.membranes import Rows
from cloud_server.tails.traced import TracedTail


class InvariantTail(TracedTail):
    """`TracedTail` without a batch of one. Its steps must run on one thread."""

    def compute(self, spikes: Tensor, weights: Tensor, state: Rows) -> Tensor:
        if len(spikes) > 1:
            return super().compute(spikes, weights, state)
        parts = (*state.membranes, state.logits)
        *membranes, logits = (torch.cat([part, part]) for part in parts)
        twice = Rows(tuple(membranes), logits, logits)
        confidences = super().compute(torch.cat([spikes, spikes]), torch.cat([weights, weights]), twice)
        for kept, after in zip(parts, (*membranes, logits), strict=True):
            kept.copy_(after[:1])
        return confidences[:1]
