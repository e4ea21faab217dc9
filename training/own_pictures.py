"""A recipe for a folder of one's own pictures: a network that is trained already learns other classes.

`recipes/own-pictures.toml` is the template. The network's form and its fit come from its bundle; how many pictures are
held out and how many epochs there are follows from their number.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import InlineTable

from shared.bundle import Bundle
from shared.errors import BundleError, ConfigError
from shared.execution import why_not_rate
from shared.plain_data import dataclass_from
from training.calibrate import least_held_out
from training.datasets.survey import Survey
from training.recipe import Recipe

CHECKOUT = Path(__file__).parents[1]
TEMPLATE = Path("recipes/own-pictures.toml")

HELD_OUT_SHARE, MOST_HELD_OUT_SHARE = 1 / 10, 1 / 5
"""Of all pictures. The larger share is only taken where it brings a promise that the smaller one does not bear."""

LOOKS = 2500
"""How many pictures training looks at, each once an epoch: enough for three classes of 40 photographs."""

EPOCHS = range(6, 31)
"""As many as `LOOKS` asks for, within these bounds: a large folder needs fewer."""


def default_network(models: Path = CHECKOUT / "models") -> Path:
    """The bundle to start from: of those for colour pictures the one with the largest input.

    Bundles that were themselves made from a folder of pictures do not count.

    Raises:
        ConfigError: there is none.
    """
    fitting = [bundle for bundle in _bundles(models) if why_not_start(bundle) is None and _is_general(bundle)]
    if not fitting:
        raise ConfigError(f"no network for colour pictures in {models}: name a bundle to start from with --init DIR")
    best = max(fitting, key=lambda bundle: bundle.manifest.network.input_shape[1]).path
    return best.relative_to(Path.cwd()) if best.is_relative_to(Path.cwd()) else best


def _bundles(models: Path) -> Iterator[Bundle]:
    for manifest in sorted(models.glob("*/manifest.json")):
        try:
            yield Bundle.open(manifest.parent)
        except BundleError:
            continue  # it is not asked for: another one may do


def _is_general(bundle: Bundle) -> bool:
    manifest = bundle.manifest
    return manifest.network.input_shape[0] == 3 and manifest.provenance.get("data", {}).get("name") != "folder"


def why_not_start(bundle: Bundle) -> str | None:
    """Why a fine-tuning stage on pictures cannot begin with this network, for people; None if it can."""
    network = bundle.manifest.network
    if network.input_kind != "static" or network.input_shape[0] not in (1, 3):
        return "it does not take pictures"
    if network.input_shape[1] != network.input_shape[2]:
        return "its pictures are not square"
    if network.bottleneck is None:
        return "it has no bottleneck"
    if network.light is not None:
        return "its light head learns from an uncompressed network: adapt the recipe that it was made by"
    return why_not_rate(network)


def held_out(pictures: int, budget: float, failure: float) -> int:
    """How many pictures to hold out of so many: a tenth, or what a promise takes if that is at most a fifth."""
    least = least_held_out(budget, failure)
    tenth = max(2, round(pictures * HELD_OUT_SHARE))
    return max(tenth, least) if least <= pictures * MOST_HELD_OUT_SHARE else tenth


def epochs_for(trained: int) -> int:
    """How often training looks at each of so many pictures."""
    return min(max(round(LOOKS / max(1, trained)), EPOCHS[0]), EPOCHS[-1])


def recipe_name(root: Path) -> str:
    """The folder's name, as one for a bundle."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", root.resolve().name).strip("-") or TEMPLATE.stem


def write_recipe(survey: Survey, bundle: Bundle, init: Path, name: str) -> tuple[str, Recipe]:
    """The recipe as TOML, and as it will be read.

    Args:
        survey: of the pictures.
        bundle: the network to start from.
        init: its path as the recipe names it.
        name: of the recipe, and of the bundle that it makes.

    Raises:
        ConfigError: nothing can start from this bundle, or the template is missing.
    """
    if (why := why_not_start(bundle)) is not None:
        raise ConfigError(f"cannot start from bundle {bundle.path}: {why}")
    template = _template()
    budget = dataclass_from(Recipe, template.unwrap()).calibration
    count = held_out(survey.pictures, budget.budget, budget.failure)
    side = bundle.manifest.network.input_shape[1]
    template["name"] = name
    template["data"].update({"held_out": count, "fit": bundle.manifest.fit})
    template["network"] = _network(bundle, len(survey.classes))
    stage = template["stages"][0]
    stage["init"] = str(init)
    stage["epochs"] = epochs_for(survey.pictures - survey.tested - count)
    stage["augment"]["shift"] = max(4, side // 16)
    classes = ", ".join(f"{label} {number}" for label, number in survey.classes.items())
    header = (
        f"# Written by `neucodex-train new` for {survey.pictures:,} pictures:\n"
        + "".join(f"# {line}\n" for line in textwrap.wrap(classes, 110))
        + "# docs/training.md says what may be changed.\n"
    )
    return header + tomlkit.dumps(template).rstrip() + "\n", dataclass_from(Recipe, template.unwrap())


def _template() -> tomlkit.TOMLDocument:
    """The template without the words at its top, which are about itself."""
    try:
        text = (CHECKOUT / TEMPLATE).read_text()
    except OSError as error:
        raise ConfigError(f"cannot read {TEMPLATE} ({error.strerror}): run this in a checkout") from None
    return tomlkit.parse(text[text.index("name =") :])


def _network(bundle: Bundle, classes: int) -> dict[str, Any]:
    values = {**bundle.manifest.network.to_dict(), "classes": classes}
    return {key: _inline(value) for key, value in values.items() if value is not None}


def _inline(value: Any) -> Any:
    """A table in a table stands on one line."""
    if not isinstance(value, Mapping):
        return list(value) if isinstance(value, tuple) else value
    table: InlineTable = tomlkit.inline_table()
    table.update(value)
    return table
