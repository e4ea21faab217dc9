"""The edge's own small classifier: trained on the spikes of a bundle's encoder, calibrated against the cloud's answer.

Its input is the mean of the spikes so far, in either execution. It costs a few hundred thousand multiplications:

    mean spikes -> pool to at most 8 x 8 -> convolution, ReLU -> pool by 2 -> linear, ReLU -> linear

edge_client/heads/local_exit.py computes the same in numpy; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn
from torch.nn import functional

from shared.exit_policy import NEVER, ExitPolicy, Measure
from shared.manifest import LocalExitSpec
from shared.network_spec import Shape
from training.calibrate import (
    certainties,
    choose_threshold,
    exit_timesteps,
    fit_temperature,
    for_temperature,
)
from training.collect_spikes import SpikeTrain

SIDE = 8
"""Larger maps are pooled to this size first."""

CHANNELS = (8, 32)
HIDDEN = 64
OPERATIONS = 300_000
"""The most multiplications of the convolution. They decide its number of channels, within `CHANNELS`."""

DROPOUT = 0.3
BATCH = 128
SAMPLES_SEEN = 400_000
EPOCHS = (10, 100)
RATE = 3e-3
DECAY = 0.05
SMOOTHING = 0.05


class LocalExitNetwork(nn.Module):
    """Mean spikes [N, C', H', W'] in 0..1 -> logits [N, classes]."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        channels, *sides = shape
        pool = max(1, -(-max(sides) // SIDE))
        sides = [-(-side // pool) for side in sides]
        after = 2 if max(sides) > 1 else 1
        features = min(max(OPERATIONS // (9 * channels * sides[0] * sides[1]), CHANNELS[0]), CHANNELS[1])
        flat = features * int(np.prod([-(-side // after) for side in sides]))
        self.pools = (pool, after)
        self.features = nn.Conv2d(channels, features, 3, padding=1)
        self.hidden = nn.Linear(flat, HIDDEN)
        self.readout = nn.Linear(HIDDEN, classes)
        self.operations = int(np.prod(sides)) * self.features.weight.numel()
        self.operations += self.hidden.weight.numel() + self.readout.weight.numel()

    def forward(self, mean_spikes: Tensor) -> Tensor:
        maps = functional.relu(self.features(pooled(mean_spikes, self.pools[0])))
        flat = functional.dropout(pooled(maps, self.pools[1]).flatten(1), DROPOUT, self.training)
        hidden = functional.dropout(functional.relu(self.hidden(flat)), DROPOUT, self.training)
        logits: Tensor = self.readout(hidden)
        return logits

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The arrays by name, for the bundle."""
        return {name: value.detach().numpy() for name, value in self.state_dict().items()}


@dataclass(frozen=True)
class LocalCalibration:
    """The values that the bundle stores, and the results on the held-out samples.

    `answered` is the share of samples that the exit is sure of after the first timestep; `promise` is None where not
    even the most careful threshold could be certified, and then it is never sure.
    """

    temperature: float
    policy: ExitPolicy
    budget: float
    failure: float
    samples: int
    answered: float
    accuracy_by_timestep: list[float]
    promise: str | None

    def spec(self, network: LocalExitNetwork) -> LocalExitSpec:
        """For the manifest."""
        return LocalExitSpec(network.pools, self.temperature, self.policy)

    def described(self) -> dict[str, Any]:
        """For the manifest's provenance."""
        return {name: value for name, value in asdict(self).items() if name not in ("policy", "temperature")}


def pooled(maps: Tensor, side: int) -> Tensor:
    """Means over squares of this side; those at the edge are cut, and are means of what is left of them."""
    return functional.avg_pool2d(maps, side, ceil_mode=True, count_include_pad=False) if side > 1 else maps


def means_so_far(frames: SpikeTrain) -> Tensor:
    """Spikes [N, T, C, H, W] -> their means over timesteps 1..t, float32 of the same shape."""
    counts = torch.arange(1, frames.shape[1] + 1).view(1, -1, 1, 1, 1)
    return torch.from_numpy(frames).float().cumsum(1) / counts


def fit(
    frames: SpikeTrain,
    labels: NDArray[np.int64],
    classes: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> LocalExitNetwork:
    """Train on the spikes of training samples; each epoch sees each sample at a timestep drawn for it.

    Args:
        frames: [N, T, C, H, W], zeros and ones.
        labels: [N].
        classes: how many.
        seed: of the random numbers.
        progress: called as progress(done, all) after each step.

    Returns:
        The network in inference mode, its weights rounded to float16 as in the bundle.
    """
    count, timesteps = frames.shape[:2]
    targets = torch.from_numpy(labels)
    epochs = min(max(SAMPLES_SEEN // count, EPOCHS[0]), EPOCHS[1])
    batches = -(-count // BATCH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LocalExitNetwork((frames.shape[2], frames.shape[3], frames.shape[4]), classes)
        optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * batches)
        for step in range(epochs * batches):
            if step % batches == 0:
                order = torch.randperm(count)
            taken = order[step % batches * BATCH :][:BATCH]
            until = torch.randint(timesteps, (len(taken),))
            means = means_so_far(frames[taken.numpy()])[torch.arange(len(taken)), until]
            loss = functional.cross_entropy(network(means), targets[taken], label_smoothing=SMOOTHING)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, epochs * batches)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(value.half().float())
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def logits_by_timestep(network: LocalExitNetwork, frames: SpikeTrain) -> NDArray[np.float64]:
    """The exit's logits [T, N, classes] after each timestep, from spikes [N, T, C, H, W]."""
    parts = [network(means_so_far(part).flatten(0, 1)) for part in np.array_split(frames, -(-len(frames) // 500))]
    found: NDArray[np.float64] = torch.cat(parts).view(*frames.shape[:2], -1).transpose(0, 1).double().numpy()
    return found


def confidences(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Softmax over the last axis in float64, as the edge computes it; the cloud's is float32."""
    shares: NDArray[np.float64] = softmax(logits / temperature, axis=-1)
    return shares


def calibrate(
    logits: NDArray[np.float64],
    cloud_right: NDArray[np.bool_],
    labels: NDArray[np.int64],
    measure: Measure,
    budget: float,
    failure: float,
) -> LocalCalibration:
    """Choose the exit's temperature and the threshold at which it may answer before a byte is sent.

    The risk is the share of samples that the exit is sure of after the first timestep and gets wrong, and that the
    cloud gets right at full T; it is tested as training/calibrate.py says.

    Args:
        logits: of the exit on held-out samples, [T, N, classes].
        cloud_right: whether the cloud's answer at full T is right, [N].
        labels: [N].
        measure: of certainty.
        budget: the risk allowed, beside the one that the cloud's early exit may take.
        failure: probability, over the draw of the held-out samples, that it is higher.
    """
    cut = for_temperature(len(labels))
    temperature = fit_temperature(logits[:, :cut], labels[:cut])
    probabilities = confidences(logits[:, cut:], temperature)
    right = probabilities.argmax(-1) == labels[cut:]
    certain = certainties(measure, probabilities[0])
    # As two timesteps: the exit after the first, else the cloud's answer at full T.
    certain_here_or_there = np.stack([certain, np.ones_like(certain)])
    threshold = choose_threshold(certain_here_or_there, np.stack([right[0], cloud_right[cut:]]), budget, failure)
    policy = ExitPolicy(measure, NEVER if threshold is None else threshold)
    answered = exit_timesteps(certain_here_or_there, policy.threshold) == 1
    promise = None
    if threshold is not None:
        promise = (
            f"with probability at least {1 - failure:g} over the draw of {len(certain)} held-out samples, answers of "
            f"the local exit before a byte is sent turn at most {budget:.2%} of samples from right at full T to wrong"
        )
    accuracies = [float(value) for value in right.mean(1)]
    return LocalCalibration(
        temperature, policy, budget, failure, len(certain), float(answered.mean()), accuracies, promise
    )
