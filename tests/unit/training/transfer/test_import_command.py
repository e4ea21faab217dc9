"""`neucodex-train import`, from a file to the first stage of a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from shared.errors import ConfigError
from shared.licences import Licence
from shared.models.split import SplitNetwork
from tests.unit.training.transfer.torchvision_like import ResNet, lively
from training.__main__ import main_group
from training.recipe import read_recipe
from training.weights import licences_of, load_weights

RECIPE = """
name = "small"
[data]
name = "folder"
held_out = 6
[network]
backbone = "resnet18"
input_shape = [3, 32, 32]
classes = 3
split = "layer1"
width = 4
stem = "imagenet"
blocks = [1, 1, 1, 2]
shortcut = "spikes"
[[stages]]
kind = "backbone"
neurons = "quantised"
epochs = 1
learning_rate = 0.01
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A random network's file, a recipe of the same network, and pictures whose classes are colours."""
    torch.save(lively(ResNet(4, (1, 1, 1, 2), 1000)).state_dict(), tmp_path / "theirs.pth")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    random = np.random.default_rng(0)
    for label in range(3):
        folder = tmp_path / "pictures" / str(label)
        folder.mkdir(parents=True)
        for number in range(15):
            picture = random.integers(0, 120, (32, 32, 3), np.uint8)
            picture[..., label] += 130
            Image.fromarray(picture).save(folder / f"{number:02}.png")
    given = {"--recipe": "recipe.toml", "--data": "pictures", "--out": "ours.safetensors"}
    named = [word for flag, name in given.items() for word in (flag, str(tmp_path / name))]
    return ["import", str(tmp_path / "theirs.pth"), *named, "--device", "cpu", "--precision", "fp32", "--threads", "1"]


def test_a_file_becomes_the_weights_that_a_stage_begins_with(tmp_path: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(main_group, arguments, catch_exceptions=False)
    assert "fc.bias, fc.weight" in result.output
    assert "held-out samples: float 100.0%" in result.output, result.output
    recipe = read_recipe(tmp_path / "recipe.toml")
    load_weights(SplitNetwork(recipe.network), tmp_path / "ours.safetensors")


def test_a_recipe_of_another_network_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: list[str]
) -> None:
    with pytest.raises(ConfigError, match=r"network\.blocks"):
        CliRunner().invoke(main_group, [*arguments, "--set", "network.blocks=[2,2,2,2]"], catch_exceptions=False)
    assert not (tmp_path / "ours.safetensors").exists()


def test_the_licence_goes_into_the_weights(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "LICENSE").write_text("MIT License\n")
    licence = ["--licence", str(tmp_path / "LICENSE")]
    with pytest.raises(ConfigError, match="go together"):
        CliRunner().invoke(main_group, [*arguments, *licence], catch_exceptions=False)
    quick = ["--balance", "0", "--readout", "0", "--source", "ResNet, from a friend"]
    CliRunner().invoke(main_group, [*arguments, *licence, *quick], catch_exceptions=False)
    assert licences_of(tmp_path / "ours.safetensors") == (Licence("ResNet, from a friend", "MIT License\n"),)


@pytest.mark.parametrize(("flag", "value"), [("--input-mean", "1,2"), ("--channels", "gbr")])
def test_what_is_wrong_on_the_command_line_is_named(arguments: list[str], flag: str, value: str) -> None:
    result = CliRunner().invoke(main_group, [*arguments, flag, value])
    assert result.exit_code == 2
    assert flag in result.output
