from pathlib import Path

import pytest

from shared.errors import ConfigError
from training.recipe import read_recipe

RECIPES = Path(__file__).parents[3] / "recipes"
GOOD = (RECIPES / "resnet18-digits.toml").read_text()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_ships_is_read(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert [stage.kind for stage in recipe.stages].count("backbone") >= 1


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("seed = 0", "sead = 0", "sead"),
        ("held_out = 400", 'held_out = "many"', "held_out"),
        ('split = "layer1"', 'split = "layer9"', "layer9"),
        ("epochs = 5\n", "epochs = 0\n", "epochs"),
        ('kind = "bottleneck"', 'kind = "backbon"', "backbon"),
        ('kind = "bottleneck"', 'kind = "finetune"\nresolutions = [[0, 16]]', None),
        ("learning_rate = 0.05", "learning_rate = -1.0", "learning_rate"),
        ("budget = 0.01", "budget = 2.0", "budget"),
        ("average = 0.98", "average = 1.5", "average"),
        ("bottleneck = {", "#", "bottleneck"),
        ("[data]", "[data", "no TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, named: str | None) -> None:
    assert old in GOOD
    path = tmp_path / "changed.toml"
    path.write_text(GOOD.replace(old, new, 1))
    if named is None:
        assert read_recipe(path).stages[1].resolutions == ((0, 16),)
        return
    with pytest.raises(ConfigError, match=named):
        read_recipe(path)


def test_a_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_recipe(tmp_path / "none.toml")


def test_stages_out_of_order(tmp_path: Path) -> None:
    head, *stages = GOOD.split("[[stages]]")
    path = tmp_path / "changed.toml"
    path.write_text("[[stages]]".join([head, stages[1], stages[0], stages[2]]))
    with pytest.raises(ConfigError, match="order"):
        read_recipe(path)
