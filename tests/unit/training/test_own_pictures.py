from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared.bundle import Bundle
from shared.errors import ConfigError
from training.datasets.survey import Survey
from training.own_pictures import default_network, epochs_for, held_out, recipe_name, write_recipe
from training.recipe import read_recipe

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    return Survey(tmp_path, {"cat": 40, "dog": 60}, (), {})


def test_the_recipe_is_the_bundles_network_with_the_pictures_classes(survey: Survey, tmp_path: Path) -> None:
    bundle = Bundle.open(MODELS / "resnet18-cifar10")
    text, recipe = write_recipe(survey, bundle, bundle.path, "mine")
    assert "# cat 40, dog 60\n" in text
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert read_recipe(path) == recipe
    assert recipe.name == "mine"
    assert recipe.network == replace(bundle.manifest.network, classes=2)
    assert (recipe.data.name, recipe.data.held_out, recipe.data.fit) == ("folder", 10, "cut")
    (stage,) = recipe.stages
    assert (stage.kind, stage.init, stage.epochs) == ("finetune", str(bundle.path), 30)


def test_the_fit_is_the_bundles(survey: Survey) -> None:
    bundle = Bundle.open(MODELS / "resnet18-cifar10")
    stretched = replace(bundle, manifest=replace(bundle.manifest, fit="stretch"))
    assert write_recipe(survey, stretched, bundle.path, "mine")[1].data.fit == "stretch"


def test_grey_pictures_are_pictures_and_events_are_not(survey: Survey) -> None:
    digits = Bundle.open(MODELS / "resnet18-digits")
    assert write_recipe(survey, digits, digits.path, "mine")[1].network.input_shape == (1, 32, 32)
    events = Bundle.open(MODELS / "vgg16-nmnist")
    with pytest.raises(ConfigError, match=r"cannot start from bundle .*vgg16-nmnist: it does not take pictures"):
        write_recipe(survey, events, events.path, "mine")


def test_the_largest_network_for_colour_pictures_is_the_default(tmp_path: Path) -> None:
    """Bundles for grey pictures, for events, and those made from folders of pictures are not candidates."""
    assert default_network(MODELS).name == "resnet18-caltech101-128"
    manifest_with(tmp_path / "b-small", side=32, data="cifar10")
    manifest_with(tmp_path / "a-large", side=64, data="caltech101")
    manifest_with(tmp_path / "c-own", side=128, data="folder")
    (tmp_path / "d-damaged").mkdir()
    (tmp_path / "d-damaged" / "manifest.json").write_text("{")
    assert default_network(tmp_path) == tmp_path / "a-large"
    with pytest.raises(ConfigError, match="--init DIR"):
        default_network(tmp_path / "none")


def manifest_with(folder: Path, side: int, data: str) -> None:
    """The manifest of a bundle for pictures of another size that was made from another data set."""
    values = json.loads((MODELS / "resnet18-cifar10" / "manifest.json").read_text())
    values["network"]["input_shape"] = [3, side, side]
    values["frame_shape"][1:] = [side // 4, side // 4]
    values["split_shape"][1:] = [side, side]
    values["provenance"]["data"]["name"] = data
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("pictures", "count"),
    [
        (10, 2),
        (120, 12),
        (1434, 143),  # a fifth would not bear a promise
        (1435, 287),
        (2000, 287),
        (5000, 500),
    ],
)
def test_a_tenth_is_held_out_or_what_a_promise_takes(pictures: int, count: int) -> None:
    assert held_out(pictures, budget=0.01, failure=0.1) == count


def test_many_pictures_are_seen_less_often() -> None:
    assert [epochs_for(trained) for trained in (5, 84, 250, 10_000)] == [30, 30, 10, 6]


@pytest.mark.parametrize(
    ("folder", "name"), [("pets", "pets"), ("my pictures (1)", "my-pictures-1"), ("(", "own-pictures")]
)
def test_a_folders_name_becomes_a_bundles(tmp_path: Path, folder: str, name: str) -> None:
    assert recipe_name(tmp_path / folder) == name
