from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shared.bundle import Normalisation
from shared.errors import ConfigError
from training.data import Samples, TrainingData
from training.machine import machine
from training.recipe import Recipe, read_recipe
from training.stages import train_stage

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture
def data() -> TrainingData:
    some = Samples(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.zeros(4, dtype=torch.long))
    return TrainingData(some, some, some, tuple("0123456789"), Normalisation(1 / 255, (0.0,) * 3, (1.0,) * 3), False)


def with_resolutions(name: str, index: int, *resolutions: tuple[int, int]) -> Recipe:
    recipe = read_recipe(RECIPES / f"{name}.toml", ("network.width=4",))
    stages = list(recipe.stages)
    stages[index] = replace(stages[index], batch_size=2, epochs=1, resolutions=resolutions)
    return replace(recipe, stages=tuple(stages))


@pytest.mark.parametrize("index", [0, 2])
def test_pictures_too_small_for_the_poolings_are_refused_at_once(
    index: int, tmp_path: Path, data: TrainingData
) -> None:
    recipe = with_resolutions("vgg16-cifar10-short", index, (0, 24))
    with (
        machine("cpu") as where,
        pytest.raises(ConfigError, match=f"stages.{index}.resolutions: pictures of 24 px are too small"),
    ):
        train_stage(recipe, 0, data, tmp_path, where)
    assert not list(tmp_path.iterdir())


def test_a_network_without_poolings_takes_smaller_pictures(tmp_path: Path, data: TrainingData) -> None:
    recipe = with_resolutions("resnet18-cifar10", 0, (0, 16))
    with machine("cpu", threads=1) as where:
        assert train_stage(recipe, 0, data, tmp_path, where).exists()
