from dataclasses import replace
from math import prod
from pathlib import Path

import pytest

from benchmarks.results import (
    ACCURACY,
    BEGIN,
    END,
    TRAINING,
    ResultsRow,
    ratio,
    read_manifests,
    read_rows,
    rewrite,
    tables,
)
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.exit_policy import ExitPolicy
from shared.manifest import ExecutionSpec, Manifest, Normalisation
from shared.models.split import EdgeNetwork, split_shape
from training.recipe import Recipe, read_recipe

ROOT = Path(__file__).parents[3]
ROWS = read_rows()


def recipe_of(row: ResultsRow) -> Recipe:
    return read_recipe(ROOT / f"recipes/{row.recipe}.toml", (f"name={row.name}", *row.set))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_a_recipe_with_the_ratio_it_is_there_for(row: ResultsRow) -> None:
    recipe = recipe_of(row)
    edge = EdgeNetwork(recipe.network)
    manifest = Manifest(
        name=row.name,
        network=recipe.network,
        frame_shape=edge.out_shape,
        split_shape=split_shape(recipe.network),
        class_names=(),
        normalisation=Normalisation(1.0, (0.0,), (1.0,)),
        executions={"spiking": ExecutionSpec(1.0, ExitPolicy("max_probability", 0.5))},
        default_execution="spiking",
        provenance={},
    )
    named = row.name.rpartition("-")[2]
    assert ratio(manifest) == (int(named[:-1]) if named.endswith("x") else 2048), prod(edge.head.out_shape)


def test_no_table_has_more_than_eight_columns() -> None:
    assert max(len(ACCURACY), len(TRAINING)) <= 8


def test_the_page_has_the_tables_that_the_manifests_give() -> None:
    page = (ROOT / "docs/results.md").read_text()
    shown = page.partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == tables(read_manifests(ROOT / "models", ROOT / "benchmarks/records"), ROWS)


def test_a_network_that_was_not_trained_has_an_empty_row_and_its_command() -> None:
    lines = tables([], (ResultsRow("new", "old", ("network.split=layer2", 'data={name="x"}')),)).splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["new", *[""] * (len(ACCURACY) - 1)]
    assert lines[-1] == (
        "    neucodex-train all --recipe recipes/old.toml --set name=new --set network.split=layer2 "
        "--set 'data={name=\"x\"}' --data DIR"
    )


def test_a_row_says_what_its_network_was_made_from() -> None:
    first = Bundle.open(ROOT / "models/resnet18-digits").manifest  # it owes nothing to anybody
    origin = {"of": "weights", "source": "ResNet-18, ImageNet", "licence": "MIT License", "sha256": ""}
    owing = replace(first, provenance={**first.provenance, "licences": [origin]})
    assert "| weights: ResNet-18, ImageNet (MIT License) |" in tables([owing], ())
    assert "weights:" not in tables([first], ())
    taught = [{**stage, "teacher": "vit.onnx"} for stage in first.provenance["stages"]]
    assert "| teacher: vit.onnx |" in tables([replace(first, provenance={**first.provenance, "stages": taught})], ())


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("nothing")
    with pytest.raises(ConfigError, match="lacks the lines"):
        rewrite(tmp_path / "page.md", ROOT / "models", tmp_path)
