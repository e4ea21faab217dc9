from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training import estimate
from training.device import Machine
from training.estimate import FIXED_SECONDS, estimate_seconds
from training.recipe import read_recipe

RECIPE = Path(__file__).parents[3] / "recipes" / "own-pictures.toml"
HERE = Machine(torch.device("cpu"), bfloat16=False)


def test_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """At one second a picture: 84 trained on and a third of 12 watched, 30 times; and all 120 measured."""
    monkeypatch.setattr(estimate, "_step_seconds", lambda _recipe, stage, _machine: float(stage.batch_size))
    recipe = read_recipe(RECIPE)
    assert recipe.stages[0].epochs == 30
    assert recipe.data.held_out == 12
    assert estimate_seconds(recipe, 120, 24, HERE) == FIXED_SECONDS + 30 * (84 + 4) + 2 * 120


def test_a_step_is_really_taken() -> None:
    recipe = read_recipe(RECIPE)
    narrow = replace(recipe, network=replace(recipe.network, width=4, input_shape=(3, 16, 16)))
    assert 0.0 < estimate._step_seconds(narrow, narrow.stages[0], HERE) < 60.0
