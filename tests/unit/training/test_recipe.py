from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import ConfigError
from training.data import TrainingData
from training.recipe import Neurons, read_recipe, uncompressed
from training.stages import stage_folder

RECIPES = Path(__file__).parents[3] / "recipes"
GOOD = (RECIPES / "resnet18-digits.toml").read_text()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_ships_is_read(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    first = recipe.stages[0]
    assert first.kind == "backbone" or first.init is not None, "the weights come from somewhere"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("seed = 0", "sead = 0", "sead"),
        ("held_out = 400", 'held_out = "many"', "held_out"),
        ('split = "layer1"', 'split = "layer9"', "layer9"),
        ("epochs = 5\n", "epochs = 0\n", "epochs"),
        ('kind = "bottleneck"', 'kind = "backbon"', "backbon"),
        ("learning_rate = 0.05", "learning_rate = -1.0", "learning_rate"),
        ("budget = 0.01", "budget = 2.0", "budget"),
        ("average = 0.98", "average = 1.5", "average"),
        ("bottleneck = {", "#", "bottleneck"),
        ("[data]", "[data", "no TOML"),
        ('name = "digits"', 'name = "folder"\nlimit = 500', "data.limit"),
        ('kind = "backbone"', 'kind = "backbone"\ndistill = 0.5', "distill"),
        ('kind = "backbone"', 'kind = "backbone"\nteacher = "t.onnx"', "set distill"),
        ('kind = "backbone"', 'kind = "backbone"\nteacher_views = 8', "teacher_views says something of a teacher"),
        ('kind = "backbone"', 'kind = "backbone"\nteacher = "t.onnx"\ndistill = 1.0\nteacher_views = -1', "negative"),
        ('kind = "backbone"', 'kind = "backbone"\nlabel_weight = 0.0', "nothing is left to learn"),
        ('kind = "backbone"', 'kind = "backbone"\nlabel_weight = -1.0', "label_weight"),
        (
            'kind = "backbone"',
            'kind = "backbone"\nteacher = "t.onnx"\ndistill = 1.0\nteacher_std = [1.0]',
            "each colour",
        ),
        ('kind = "finetune"', 'kind = "finetune"\nimitate = 0.5', "imitate"),
        ('kind = "backbone"', 'kind = "backbone"\nspike_cost = 0.5', "spike_cost"),
        ('kind = "backbone"', 'kind = "backbone"\nschedule = "steps"', "schedule"),
        ("augment = { shift = 2 }", "augment = { alternate = true }", "alternate"),
        ("augment = { shift = 2 }", "augment = { erase_until = 3 }", "erase_until"),
        ("threshold = 2.0,", "threshold = 2.0, leak = 0.9,", "leak = 1.0"),
        ("threshold = 2.0,", "", "initial_membrane = 0.5"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in GOOD
    path = tmp_path / "changed.toml"
    path.write_text(GOOD.replace(old, new, 1))
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


@pytest.mark.parametrize(
    ("neurons", "named"),
    [
        (("float", "float", "quantised"), None),
        (("float", "quantised", "spiking"), None),
        (("quantised", "float", "quantised"), "order"),
        (("quantised", "quantised", "float"), "order"),
        (("float", "float", "float"), "must follow"),
        (("spiking", "quantised", "spiking"), None),
    ],
)
def test_float_stages_prepare_others(neurons: tuple[Neurons, ...], named: str | None) -> None:
    recipe = read_recipe(RECIPES / "resnet18-digits.toml")
    first, *others = recipe.stages
    stages = (*(replace(first, neurons=kind, resolutions=()) for kind in neurons), *others)
    if named is None:
        assert replace(recipe, stages=stages).stages == stages
    else:
        with pytest.raises(ConfigError, match=named):
            replace(recipe, stages=stages)


@pytest.mark.parametrize("index", [1, 2])
def test_float_neurons_send_no_spikes(index: int) -> None:
    with pytest.raises(ConfigError, match="'float' belong to backbone"):
        read_recipe(RECIPES / "resnet18-digits.toml", (f"stages.{index}.neurons=float",))


def test_a_bottleneck_that_no_stage_trains(tmp_path: Path) -> None:
    head, backbone, *_ = GOOD.split("[[stages]]")
    path = tmp_path / "changed.toml"
    path.write_text(f"{head}[[stages]]{backbone}")
    with pytest.raises(ConfigError, match="no stage trains"):
        read_recipe(path)


def test_a_teacher_needs_a_backbone_stage() -> None:
    recipe = read_recipe(RECIPES / "resnet18-digits.toml")
    with pytest.raises(ConfigError, match="distill"):
        replace(recipe, stages=recipe.stages[1:])


def test_a_teacher_from_outside_needs_none() -> None:
    recipe = read_recipe(RECIPES / "resnet18-digits.toml")
    bottleneck, finetune = recipe.stages[1:]
    taught = replace(finetune, teacher="t.onnx")
    assert replace(recipe, stages=(bottleneck, taught)).stages[1].teacher == "t.onnx"
    augment = replace(finetune.augment, mirror=True, alternate=True)
    with pytest.raises(ConfigError, match="teacher_views must be even"):
        replace(taught, teacher_views=3, augment=augment)


def test_mixed_pictures_have_neither_labels_nor_stored_answers() -> None:
    finetune = read_recipe(RECIPES / "resnet18-digits.toml").stages[-1]
    mixed = replace(finetune.augment, mix=True)
    with pytest.raises(ConfigError, match="no label of its own"):
        replace(finetune, augment=mixed)
    unlabelled = replace(finetune, label_weight=0.0, distill=1.0, augment=mixed)
    assert replace(unlabelled, teacher="t.onnx", teacher_views=0).augment.mix
    with pytest.raises(ConfigError, match="teacher_views = 0"):
        replace(unlabelled, teacher="t.onnx")


def test_a_stage_goes_by_its_teacher_wherever_that_lies(tmp_path: Path, data: TrainingData) -> None:
    recipe = read_recipe(RECIPES / "resnet18-digits.toml")

    def folder(name: str, content: bytes, **fields: object) -> Path:
        (tmp_path / name).write_bytes(content)
        stage = replace(recipe.stages[0], teacher=str(tmp_path / name), distill=1.0, **fields)
        return stage_folder(tmp_path, replace(recipe, stages=(stage, *recipe.stages[1:])), data, 0)

    one = folder("one.onnx", b"1")
    assert folder("moved.onnx", b"1", teacher_licence="LICENSE") == one
    assert folder("one.onnx", b"2") != one
    assert folder("one.onnx", b"1", teacher_views=2) != one


def test_fields_are_changed_from_the_command_line() -> None:
    changes = ("name=other", "network.split=layer2", "network.bottleneck = {channels = 8}", "stages.0.epochs=3")
    recipe = read_recipe(RECIPES / "resnet18-digits.toml", changes)
    assert (recipe.name, recipe.network.split, recipe.stages[0].epochs) == ("other", "layer2", 3)
    assert recipe.network.bottleneck is not None
    assert (recipe.network.bottleneck.channels, recipe.network.bottleneck.stride) == (8, 1)


@pytest.mark.parametrize("change", ["epochs", "stages.9.epochs=1", "name.first=x", "network.splat=layer1", "seed=many"])
def test_a_change_that_fits_nothing_is_named(change: str) -> None:
    with pytest.raises(ConfigError, match=change.partition("=")[0].rpartition(".")[2]):
        read_recipe(RECIPES / "resnet18-digits.toml", (change,))


def test_recipes_that_begin_alike_share_their_backbone(tmp_path: Path, data: TrainingData) -> None:
    path = RECIPES / "resnet18-digits.toml"
    one, other = read_recipe(path), read_recipe(path, ("name=other", "network.split=layer3"))
    assert stage_folder(tmp_path, one, data, 0) == stage_folder(tmp_path, other, data, 0)
    assert stage_folder(tmp_path, one, data, 1) != stage_folder(tmp_path, other, data, 1)
    spelled = read_recipe(path, ("stages.0.clip_gradient=0.0", "network.shortcut=currents"))
    assert stage_folder(tmp_path, one, data, 0) == stage_folder(tmp_path, spelled, data, 0), "defaults, written out"
    longer = read_recipe(path, ("stages.0.epochs=21",))
    assert stage_folder(tmp_path, one, data, 0) != stage_folder(tmp_path, longer, data, 0)


def test_the_uncompressed_network_shares_the_backbone_stage(tmp_path: Path, data: TrainingData) -> None:
    recipe = read_recipe(RECIPES / "resnet18-digits.toml")
    plain = uncompressed(recipe)
    assert plain.network.bottleneck is None
    assert [stage.kind for stage in plain.stages] == ["backbone"]
    assert stage_folder(tmp_path, plain, data, 0) == stage_folder(tmp_path, recipe, data, 0)


def test_the_uncompressed_network_has_no_light_head() -> None:
    recipe = read_recipe(RECIPES / "resnet18-cifar10-light.toml")
    assert recipe.network.light is not None
    plain = uncompressed(recipe)
    assert (plain.network.bottleneck, plain.network.light) == (None, None)


def test_a_recipe_without_a_backbone_leaves_no_uncompressed_network() -> None:
    recipe = read_recipe(RECIPES / "resnet18-digits.toml", ("stages.2.distill=0.0",))
    with pytest.raises(ConfigError, match="backbone"):
        uncompressed(replace(recipe, stages=recipe.stages[1:]))
