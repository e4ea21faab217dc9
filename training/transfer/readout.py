"""A linear classifier on the features of a network that is left as it is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.models.split import SplitNetwork

PENALTY = 3e-3
"""Factor of half the squared weights of standardised features, added to the mean cross-entropy."""

ITERATIONS = 100


@torch.no_grad()
def features(network: SplitNetwork, frames: Tensor) -> Tensor:
    """The readout's features [B, F] of input [B, C, H, W] at the first timestep, a mean over space."""
    edge, cloud, batch = network.edge, network.cloud, len(frames)
    currents = network.currents(frames)[:1]
    spikes, _ = edge(currents, edge.initial_state(batch))
    decoded, _ = cloud.decoder(spikes, cloud.decoder.initial_state(batch))
    deep, _ = cloud.tail(decoded, cloud.tail.initial_state(batch))
    seen: Tensor = deep[0].float().mean((-2, -1))
    return seen


def fit_readout(readout: nn.Linear, seen: Tensor, labels: Tensor) -> None:
    """Logistic regression by L-BFGS on features [N, F] with labels [N]; the result goes into `readout`."""
    mean, std = seen.mean(0), seen.std(0).clamp(min=1e-6)
    standard = (seen - mean) / std
    weight = torch.zeros_like(readout.weight, requires_grad=True)
    bias = torch.zeros_like(readout.bias, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(standard @ weight.T + bias, labels) + 0.5 * PENALTY * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        readout.weight.copy_(weight / std)
        readout.bias.copy_(bias - (weight / std) @ mean)
