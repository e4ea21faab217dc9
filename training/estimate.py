"""How long a recipe will take on this machine: one step of each stage is timed, the rest is counted in such steps."""

from __future__ import annotations

import time

import torch

from training.batches import Batch
from training.device import Machine
from training.objectives import StageObjective, set_trainable
from training.optimiser import StageOptimiser
from training.recipe import Recipe, StageRecipe
from training.stages import build_network
from training.trainer import WATCHED_SAMPLES

MEASURED_PASSES = 2
"""What calibration, evaluation and export cost of each picture, in those that are trained on."""

TIMED_STEPS = 4
"""Of each stage."""

FIXED_SECONDS = 30.0
"""What they cost whatever the pictures: graphs, codec tables, local exits."""


def estimate_seconds(recipe: Recipe, pictures: int, tested: int, machine: Machine) -> float:
    """Of `neucodex-train all`, roughly: other work on the machine changes it, and so do networks of other sizes.

    Args:
        recipe: of stages that need no teacher; its network takes pictures.
        pictures: in the data set.
        tested: how many of them are kept for testing.
        machine: where it will run.
    """
    trained = max(1, pictures - tested - recipe.data.held_out)
    watched = min(recipe.data.held_out, WATCHED_SAMPLES)
    seconds = FIXED_SECONDS
    for stage in recipe.stages:
        each = _step_seconds(recipe, stage, machine) / stage.batch_size
        # To answer costs a third of what it costs to learn.
        seconds += each * stage.epochs * (trained * stage.part + watched / 3)
    return seconds + each * MEASURED_PASSES * pictures


def _step_seconds(recipe: Recipe, stage: StageRecipe, machine: Machine) -> float:
    """The fastest of a few steps on noise: the first one also gets memory and chooses kernels."""
    network = build_network(recipe, stage, machine)
    set_trainable(network, stage)
    objective, optimiser = StageObjective(network, stage, None), StageOptimiser(network, stage)
    shape = (stage.batch_size, *recipe.network.input_shape)
    labels = torch.arange(stage.batch_size, device=machine.device) % recipe.network.classes
    taken = []
    for _ in range(TIMED_STEPS):
        begun = time.monotonic()
        with machine.autocast():
            loss, _ = objective(*Batch(torch.randn(shape, device=machine.device), labels, None))
        loss.backward()
        optimiser.step(0.1)
        float(loss.detach())  # a GPU is waited for
        taken.append(time.monotonic() - begun)
    return min(taken)
