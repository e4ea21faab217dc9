"""The optimisers: SGD for all weights, or Muon for convolutions and SGD for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from training.recipe import StageRecipe


class StageOptimiser:
    """The optimisers of one stage, with one schedule.

    Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) is PyTorch's own, which takes
    matrices alone: each convolution's weight is handed to it as a view, an output channel a row. Everything else (the
    readout, normalisation, gains) learns by SGD at `other_learning_rate`.
    """

    def __init__(self, network: nn.Module, stage: StageRecipe) -> None:
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._views: list[tuple[nn.Parameter, nn.Parameter]] = []
        self._optimisers: list[torch.optim.Optimizer] = []
        rate = stage.learning_rate
        if stage.optimiser == "muon":
            self._views = [(weight, nn.Parameter(_matrix(weight.data))) for weight in trained if weight.dim() == 4]
            trained = [parameter for parameter in trained if parameter.dim() != 4]
            rate = stage.other_learning_rate
        if rows := [matrix for _, matrix in self._views]:
            self._optimisers.append(
                torch.optim.Muon(
                    rows, stage.learning_rate, stage.muon_weight_decay, stage.momentum, ns_steps=ORTHOGONALISATIONS
                )
            )
        # Weight decay on convolutions and the readout's weights alone.
        groups = [
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": stage.weight_decay},
            {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self._optimisers.append(torch.optim.SGD(groups, rate, stage.momentum, nesterov=True))
        self._peaks = [optimiser.param_groups[0]["lr"] for optimiser in self._optimisers]

    def step(self, fraction: float) -> None:
        """Go one step against the gradients, at this part of the peak learning rate."""
        for weight, matrix in self._views:
            matrix.grad = None if weight.grad is None else _matrix(weight.grad)
        for optimiser, peak in zip(self._optimisers, self._peaks, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * fraction
            optimiser.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """The state for a checkpoint."""
        return [optimiser.state_dict() for optimiser in self._optimisers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Load the state from a checkpoint of the same stage."""
        for optimiser, state in zip(self._optimisers, states, strict=True):
            optimiser.load_state_dict(state)


ORTHOGONALISATIONS = 3
"""Newton-Schulz iterations; Jordan's CIFAR-10 speed runs take as many, PyTorch's default is 5."""


def _matrix(weight: Tensor) -> Tensor:
    """[out, in, h, w] as [out, in h w] without a copy; the order of the columns is that of the memory."""
    if not weight.is_contiguous():
        weight = weight.permute(0, 2, 3, 1)
    return weight.view(len(weight), -1)
