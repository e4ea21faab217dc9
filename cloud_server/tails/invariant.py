"""A `spiking` tail in torch whose answer to a sample has the same bits in every batch.

On one thread oneDNN computes the same bits for a sample in any batch of two or more. A single sample runs through other
kernels, for small convolutions and for the readout, which add in another order; sometimes that flips a spike. So this
tail steps a single sample as two equal ones. The result is exact, and the step of a single sample takes up to twice as
long.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from cloud_server.tails.spiking import Compute, SpikingStep, SpikingTail
from shared.models.layers import State


class InvariantTail(SpikingTail):
    """A `SpikingTail` that never steps a batch of one. Its steps must run on one thread."""

    def _prepare(self, step: SpikingStep) -> Compute:
        return partial(_compute_as_two, super()._prepare(step))


def _compute_as_two(compute: Compute, spikes: Tensor, weights: Tensor, membranes: State, logits: Tensor) -> Tensor:
    """As `SpikingStep.forward`; a lone sample is stepped as two equal ones."""
    if len(spikes) > 1:
        return compute(spikes, weights, membranes, logits)
    parts = (*membranes, logits)
    twice = [torch.cat([part, part]) for part in parts]
    confidences = compute(torch.cat([spikes, spikes]), torch.cat([weights, weights]), tuple(twice[:-1]), twice[-1])
    for kept, after in zip(parts, twice, strict=True):
        kept.copy_(after[:1])
    return confidences[:1]
