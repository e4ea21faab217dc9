"""Losses over timesteps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.recipe import Objective


def running_mean(logits: Tensor) -> Tensor:
    """The mean of the logits so far, at each timestep: [T, B, K] -> [T, B, K]."""
    steps = torch.arange(1, len(logits) + 1, device=logits.device, dtype=logits.dtype)
    return logits.cumsum(0) / steps[:, None, None]


def classification(
    logits: Tensor,
    labels: Tensor,
    objective: Objective = "running_mean",
    smoothing: float = 0.0,
    first_weight: float = 1.0,
) -> Tensor:
    """Cross-entropy at every timestep, averaged (the temporal efficient training of Deng et al., ICLR 2022).

    Args:
        logits: of each timestep, [T, B, K].
        labels: [B].
        objective: on each timestep's own logits, or on their running mean.
        smoothing: label smoothing.
        first_weight: weight of the first timestep's loss, the others' being 1.
    """
    seen = running_mean(logits) if objective == "running_mean" else logits
    timesteps = len(seen)
    losses = F.cross_entropy(
        seen.flatten(0, 1), labels.repeat(timesteps), label_smoothing=smoothing, reduction="none"
    ).view(timesteps, -1)
    weights = torch.ones(timesteps, device=losses.device)
    weights[0] = first_weight
    return (losses.mean(1) * weights).sum() / weights.sum()


def distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Divergence of the running mean at every timestep from the teacher's answer after all of its timesteps.

    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, at temperature 2, scaled by its square.

    Args:
        logits: of each timestep, [T, B, K].
        teacher: of each timestep, [T', B, K].
    """
    temperature = 2.0
    student = F.log_softmax(running_mean(logits) / temperature, -1)
    target = F.log_softmax(teacher.mean(0) / temperature, -1).expand_as(student)
    divergence = F.kl_div(student.flatten(0, 1), target.flatten(0, 1), log_target=True, reduction="batchmean")
    return divergence * temperature**2


def imitation(decoded: Tensor, original: Tensor) -> Tensor:
    """Mean squared difference of firing rates: spikes [T, B, C, H, W] both."""
    return F.mse_loss(decoded.float().mean(0), original.float().mean(0))
