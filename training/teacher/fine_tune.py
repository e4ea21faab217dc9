"""Fine-tune a teacher: AdamW, its running statistics and its first layers frozen, resumable at any step."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training import checkpoint
from training.augment import augment, draw
from training.augment_recipe import AugmentRecipe
from training.data import Samples
from training.device import Machine
from training.progress import Progress
from training.teacher import efficientnet
from training.teacher.classifier import resize

log = logging.getLogger("neucodex.train")

WARMUP_STEPS = 100
SHIFT = 3 / 32
"""The largest shift, as a share of a picture's side. The margin is its reflection."""


@dataclass(frozen=True)
class FineTuning:
    """The settings of a fine-tuning.

    side: of the pictures as the network takes them, in pixels.
    learning_rate, readout_rate: at their peak, of the network and of its new classifier; half a cosine down to 0.
    """

    side: int = 128
    epochs: int = 2
    seed: int = 0
    batch_size: int = 64
    learning_rate: float = 5e-4
    readout_rate: float = 5e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    clip_gradient: float = 1.0


def fine_tune(network: nn.Module, samples: Samples, settings: FineTuning, folder: Path, machine: Machine) -> None:
    """Train `network` on pictures, from the checkpoint in `folder` if there is one.

    Args:
        network: it is changed.
        samples: the training pictures.
        settings: of the fine-tuning.
        folder: for the checkpoint.
        machine: device, precision and ranks.
    """
    efficientnet.freeze(network)
    network.to(machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = _optimiser(network, settings)
    per_epoch = max(1, len(samples) // settings.batch_size)
    total, first = per_epoch * settings.epochs, _resume(network, optimiser, folder)
    saved, loss = time.monotonic(), math.nan
    with Progress(folder.name, total) as progress:
        for step in range(first, total):
            fraction = min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1.0 + math.cos(math.pi * step / total))
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * fraction
            value = _step(network, optimiser, samples, settings, (step // per_epoch, step % per_epoch), machine)
            loss = value if math.isnan(loss) else 0.98 * loss + 0.02 * value
            progress.at(step + 1, f"loss {loss:.3f}")
            if time.monotonic() - saved > machine.checkpoint_seconds:
                _save(network, optimiser, step + 1, folder)
                saved = time.monotonic()
    network.eval()


def _step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    samples: Samples,
    settings: FineTuning,
    position: tuple[int, int],
    machine: Machine,
) -> float:
    epoch, batch = position
    order = torch.randperm(len(samples), generator=_generator(settings.seed, epoch))
    chosen = order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
    pictures = samples.frames[chosen]
    recipe = AugmentRecipe(shift=round(SHIFT * pictures.shape[-1]), mirror=True)
    random = _generator(settings.seed, epoch, batch + 1)
    pictures = augment(pictures, recipe, draw(recipe, len(chosen), random), "reflect")
    pictures = resize(pictures.to(machine.device), (settings.side, settings.side))
    torch.manual_seed(random.initial_seed())  # dropout draws from the global generator: a resumed run draws the same
    efficientnet.train_mode(network)
    with machine.autocast():
        logits: Tensor = network(efficientnet.prepared(pictures))
    labels = samples.labels[chosen].to(machine.device)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=settings.label_smoothing)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), settings.clip_gradient)
    optimiser.step()
    return float(loss.detach())


def _optimiser(network: nn.Module, settings: FineTuning) -> torch.optim.Optimizer:
    readout = list(efficientnet.readout_parameters(network))
    known = {id(parameter) for parameter in readout}
    rest = [value for value in network.parameters() if value.requires_grad and id(value) not in known]
    groups: list[dict[str, Any]] = [
        {"params": rest, "peak": settings.learning_rate},
        {"params": readout, "peak": settings.readout_rate},
    ]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)


def _resume(network: nn.Module, optimiser: torch.optim.Optimizer, folder: Path) -> int:
    state = checkpoint.load(folder)
    if state is None:
        return 0
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    step: int = state["step"]
    log.info("%s goes on at step %d", folder.name, step + 1)
    return step


def _save(network: nn.Module, optimiser: torch.optim.Optimizer, step: int, folder: Path) -> None:
    checkpoint.save(folder, {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step})


def _generator(seed: int, *position: int) -> torch.Generator:
    for number in position:
        seed = (seed * 1_000_003 + number + 1) % 2**63
    return torch.Generator().manual_seed(seed)
