"""A `spiking` tail in torch whose answer to a sample has the same bits in every batch.

oneDNN chooses its kernels by the size of the batch, and each adds in another order; sometimes that flips a spike. Which
sizes agree depends on the processor. So this tail steps the samples of a batch one after the other.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from cloud_server.tails.spiking import Compute, SpikingStep, SpikingTail
from shared.models.layers import State


class InvariantTail(SpikingTail):
    """A `SpikingTail` that steps one sample at a time. Its steps must run on one thread."""

    def _prepare(self, step: SpikingStep) -> Compute:
        return partial(_compute_each, super()._prepare(step))


def _compute_each(compute: Compute, spikes: Tensor, weights: Tensor, membranes: State, logits: Tensor) -> Tensor:
    """As `SpikingStep.forward`, sample by sample; membranes and logits change in place."""
    confidences = []
    for at in range(len(spikes)):
        one = slice(at, at + 1)
        # Copies, as a view begins where the batch has put it, and kernels go by that, too.
        own = [part[one].clone() for part in (*membranes, logits)]
        confidences.append(compute(spikes[one].clone(), weights[one], tuple(own[:-1]), own[-1]))
        for kept, after in zip((*membranes, logits), own, strict=True):
            kept[one] = after
    return torch.cat(confidences)
