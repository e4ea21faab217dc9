from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from shared.errors import ConfigError
from shared.licences import Licence
from shared.models.neuron import Neuron
from tests.unit.training.teacher.teachers import write_onnx
from training.activations import ClipFloorShift
from training.data import Samples, TrainingData
from training.device import machine
from training.recipe import Neurons, Recipe, StageRecipe, read_recipe
from training.stages import WEIGHTS, _teacher, build_network, stage_folder, train_stage
from training.weights import licences_of, save_weights

RECIPES = Path(__file__).parents[3] / "recipes"


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


@pytest.mark.parametrize("views", [0, 4])
def test_a_teacher_of_pictures_is_not_asked_about_events(views: int, tmp_path: Path, data: TrainingData) -> None:
    recipe = read_recipe(RECIPES / "resnet18-digits.toml", ("network.width=4",))
    teacher = str(write_onnx(tmp_path / "t.onnx"))
    stage = replace(recipe.stages[0], teacher=teacher, distill=1.0, teacher_views=views)
    clips = replace(data, train=Samples(data.train.frames.unsqueeze(1), data.train.labels))
    with machine("cpu") as where, pytest.raises(ConfigError, match="clips of events"):
        train_stage(replace(recipe, stages=(stage, *recipe.stages[1:])), 0, clips, tmp_path, where)


@pytest.mark.parametrize(
    ("name", "neurons"),
    [
        ("resnet18-cifar10", "quantised"),
        ("resnet18-cifar10", "spiking"),  # one pass instead of T
        ("vgg16-nmnist", "spiking"),
        ("vgg16-nmnist", "quantised"),
    ],
)
def test_whose_answers_are_imitated(name: str, neurons: Neurons, tmp_path: Path, data: TrainingData) -> None:
    recipe = read_recipe(RECIPES / f"{name}.toml", ("network.width=4",))
    last = replace(recipe.stages[-1], neurons=neurons, resolutions=())
    recipe = replace(recipe, stages=(*recipe.stages[:-1], last))
    backbones = [index for index, stage in enumerate(recipe.stages) if stage.kind == "backbone"]
    with machine("cpu") as where:
        for index in backbones:
            network = build_network(recipe, recipe.stages[index], where)
            torch.nn.init.constant_(network.cloud.readout.linear.bias, index)
            folder = stage_folder(tmp_path, recipe, data, index)
            folder.mkdir(parents=True)
            save_weights(network, folder / WEIGHTS)
        teacher = _teacher(recipe, data, len(recipe.stages) - 1, tmp_path, where)
    assert teacher is not None
    best = max(index for index in backbones if recipe.stages[index].neurons == "quantised")
    assert teacher.cloud.readout.linear.bias.unique().tolist() == [best], "the last quantised one"
    assert teacher.spec.input_kind == "static"


def test_a_network_without_poolings_takes_smaller_pictures(tmp_path: Path, data: TrainingData) -> None:
    recipe = with_resolutions("resnet18-cifar10", 0, (0, 16))
    with machine("cpu", threads=1) as where:
        assert train_stage(recipe, 0, data, tmp_path, where).exists()


def test_licences_go_on_from_stage_to_stage(tmp_path: Path, data: TrainingData) -> None:
    theirs = (Licence("ResNet-18, from a package", "MIT License"),)
    recipe = read_recipe(RECIPES / "resnet18-cifar10.toml", ("network.width=4",))
    first, second = (replace(stage, epochs=1, batch_size=2, resolutions=()) for stage in recipe.stages[:2])
    first = replace(first, epochs=0, init=str(tmp_path / "theirs.safetensors"))
    recipe = replace(recipe, stages=(first, second, *recipe.stages[2:]))
    with machine("cpu", threads=1) as where:
        save_weights(build_network(recipe, first, where), tmp_path / "theirs.safetensors", theirs)
        for index in range(2):
            assert licences_of(train_stage(recipe, index, data, tmp_path, where)) == theirs


def test_the_encoder_has_levels_and_all_others_have_other_levels() -> None:
    recipe = read_recipe(RECIPES / "resnet18-digits.toml", ("network.width=4",))
    index = next(i for i, stage in enumerate(recipe.stages) if stage.kind == "finetune")
    stage = replace(recipe.stages[index], neurons="quantised", levels=(1, 2), other_levels=(8, 4))
    with machine("cpu") as where:
        network = build_network(recipe, stage, where)

    def levels(part: nn.Module) -> set[tuple[int, ...]]:
        neurons = [module for module in part.modules() if isinstance(module, Neuron)]
        return {neuron.recurrence.levels for neuron in neurons if isinstance(neuron.recurrence, ClipFloorShift)}

    assert levels(network.edge.encoder) == {(1, 2)}
    assert levels(network.edge.head) == levels(network.cloud) == {(8, 4)}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kind": "backbone"}, "only they have an encoder"),
        ({"neurons": "spiking"}, "only they have an encoder"),
        ({"other_levels": (8,)}, "one value of at least 1 for each"),
        ({"other_levels": (8, 0)}, "one value of at least 1 for each"),
    ],
)
def test_other_levels_that_fit_nothing_are_refused(changes: dict[str, Any], named: str) -> None:
    stage = StageRecipe("finetune", 1, learning_rate=0.1, neurons="quantised", levels=(1, 2), other_levels=(8, 8))
    with pytest.raises(ConfigError, match=named):
        replace(stage, **changes)
