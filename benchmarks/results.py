"""The tables of trained networks and their figures, from the manifests' own provenance: no number is typed by hand.

A row is filled by a bundle in `models/`, or by the manifest of one that does not ship, kept among the records. What is
in neither is an empty row with the command that fills it, from `rows.toml` beside this file.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import matplotlib
import tomllib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.execution import Execution
from shared.manifest import Manifest
from shared.network_spec import FLOAT_BITS
from shared.plain_data import dataclass_from

BEGIN, END = "<!-- bundles: begin -->", "<!-- bundles: end -->"

ACCURACY = (
    "name",
    "data",
    "execution",
    "cut after, ratio",
    "uncompressed at T=1, 2, ..., %",
    "compressed at T=1, 2, ..., %",
    "drop at full T, points",
    "with exit",
)
TRAINING = ("name", "network", "seed, epochs", "from outside", "trained on", "minutes")


@dataclass(frozen=True)
class ResultsRow:
    """A network that belongs in the table: a recipe in `recipes/` and what is changed of it."""

    name: str
    recipe: str
    set: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What trains it."""
        changes = [f"--set {shlex.quote(change)}" for change in (f"name={self.name}", *self.set)]
        recipe = f"--recipe recipes/{self.recipe}.toml"
        return " ".join(["neucodex-train all", recipe, *(changes if self.set else ()), "--data DIR"])


def read_rows() -> tuple[ResultsRow, ...]:
    """The networks that belong in the table whether anybody has trained them or not."""
    listed = tomllib.loads(Path(__file__).with_name("rows.toml").read_text())["rows"]
    return tuple(dataclass_from(ResultsRow, row) for row in listed)


def read_manifests(models: Path, records: Path) -> list[Manifest]:
    """Of the bundles that ship, and of those trained for a row alone (`records/*/manifest.json`, without weights).

    Raises:
        BundleError: one of them is damaged.
    """
    files = [*sorted(models.glob("*/manifest.json")), *sorted(records.glob("*/manifest.json"))]
    return [Bundle.open(file.parent).manifest for file in files]


def tables(manifests: list[Manifest], rows: tuple[ResultsRow, ...]) -> str:
    """Markdown: how accurate each execution of each network is, how each was trained, and the commands that did it.

    A network that nobody has trained yet has a row without figures, and its command.
    """
    planned = {row.name: row for row in rows}
    missing = [row for row in rows if row.name not in {manifest.name for manifest in manifests}]
    accuracy = [_accuracy(manifest, execution) for manifest in manifests for execution in manifest.executions]
    accuracy += [[row.name, *[""] * (len(ACCURACY) - 1)] for row in missing]
    made = [planned.get(manifest.name, ResultsRow(manifest.name, manifest.name)) for manifest in manifests]
    return "\n\n".join(
        [
            _table(ACCURACY, accuracy),
            "How each was trained:",
            _table(TRAINING, [_training(manifest) for manifest in manifests]),
            "The commands, a line for each network:",
            "\n".join(f"    {row.command}" for row in [*made, *missing]),
        ]
    )


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def rewrite(page: Path, models: Path, records: Path) -> None:
    """Put the tables between the marks of a page, and the figures into `figures/` beside it.

    Raises:
        ConfigError: the page has no such marks.
    """
    manifests = read_manifests(models, records)
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{page} lacks the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{tables(manifests, read_rows())}\n{END}{after}")
    figures = page.parent / "figures"
    figures.mkdir(exist_ok=True)
    plot_bits(manifests, figures / "accuracy-bits.png")
    plot_timesteps(manifests, figures / "accuracy-timesteps.png")


def ratio(manifest: Manifest) -> float:
    """The float32 count: 32 bits a value of the feature map at the split over the bits of a frame, per timestep."""
    return FLOAT_BITS * prod(manifest.split_shape) / prod(manifest.frame_shape)


def _accuracy(manifest: Manifest, execution: Execution) -> list[str]:
    origin, settings = manifest.provenance, manifest.executions[execution]
    test: Mapping[str, Any] = settings.measured["test"]
    default = " (default)" if len(manifest.executions) > 1 and execution == manifest.default_execution else ""
    whole: list[float] | None = test.get("uncompressed_accuracy_by_timestep")
    return [
        manifest.name,
        f"{origin['data']['name']}, {'**simulated**' if origin['simulated_data'] else 'real'}, n={test['samples']}",
        f"{execution}{default}",
        f"{manifest.network.split}, {ratio(manifest):,.0f}x ({prod(manifest.frame_shape)} bits)",
        "not measured" if whole is None else _percent(whole),
        _percent(test["accuracy_by_timestep"]),
        "not measured" if whole is None else f"{100 * (whole[-1] - test['accuracy_by_timestep'][-1]):.2f}",
        f"{100 * test['accuracy_with_exit']:.2f} % at {test['mean_timesteps']:.2f} timesteps ({settings.exit_policy})",
    ]


def _training(manifest: Manifest) -> list[str]:
    network, origin = manifest.network, manifest.provenance
    return [
        manifest.name,
        f"{network.backbone}, width {network.width}, T={network.timesteps}",
        f"{origin['seed']}, {'+'.join(_epochs(stage) for stage in origin['stages'])}",
        "; ".join(_origins(origin)) or "-",
        origin["machine"],
        f"{sum(origin['seconds']) / 60:.0f}",
    ]


def _origins(origin: Mapping[str, Any]) -> list[str]:
    """Which networks from outside a network was made from: of a row from scratch none."""
    licences = origin.get("licences", ())
    named = [f"{other['of']}: {other['source']} ({other['licence']})" for other in licences]
    if any(other["of"] == "teacher" for other in licences):
        return named
    return named + [
        f"teacher: {name}" for name in dict.fromkeys(stage.get("teacher") for stage in origin["stages"]) if name
    ]


def _percent(accuracies: list[float]) -> str:
    return ", ".join(f"{100 * value:.2f}" for value in accuracies)


def _epochs(stage: dict[str, Any]) -> str:
    return f"{stage['epochs'] * stage.get('part', 1.0):g}"


def _measured(manifest: Manifest) -> Mapping[str, Any]:
    """On test samples, of the default execution."""
    test: Mapping[str, Any] = manifest.executions[manifest.default_execution].measured["test"]
    return test


def plot_bits(manifests: Sequence[Manifest], path: Path) -> None:
    """Test accuracy at full T against the bits of a frame, a colour for each backbone on a data set.

    Each point bears the place of its cut; dotted, the accuracy of the uncompressed network.
    """
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    networks: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        network = manifest.network
        name = f"{network.backbone}, width {network.width}, on {manifest.provenance['data']['name']}"
        networks.setdefault(name, []).append(manifest)
    for name, members in networks.items():
        tests = [_measured(manifest) for manifest in members]
        bits = [prod(manifest.frame_shape) for manifest in members]
        accuracies = [100 * test["accuracy_by_timestep"][-1] for test in tests]
        (points,) = axes.plot(bits, accuracies, "o", label=name)
        for manifest, x, y in zip(members, bits, accuracies, strict=True):
            axes.annotate(manifest.network.split, (x, y), (5, 4), textcoords="offset points", fontsize="x-small")
        wholes = [test.get("uncompressed_accuracy_by_timestep") for test in tests]
        for accuracy in {whole[-1] for whole in wholes if whole}:
            axes.axhline(100 * accuracy, color=points.get_color(), linestyle=":", linewidth=1.0)
    axes.set(xscale="log", xlabel="bits of a frame, before the codec", ylabel="test accuracy at full T, %")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_timesteps(manifests: Sequence[Manifest], path: Path) -> None:
    """Test accuracy against mean timesteps over all exit thresholds; the star is the calibrated one."""
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    colours = [plt.get_cmap("tab20")(index) for index in range(20)]
    for number, manifest in enumerate(manifests):
        colour, style = colours[number % 20], ("-", "--", ":")[number // 20 % 3]
        test = _measured(manifest)
        curve = test.get("curve", [])
        steps, accuracies = [point[1] for point in curve], [100 * point[2] for point in curve]
        axes.plot(steps, accuracies, color=colour, linestyle=style, label=manifest.name)
        fixed = [100 * value for value in test["accuracy_by_timestep"]]
        axes.plot(range(1, len(fixed) + 1), fixed, "s", color=colour, fillstyle="none")
        star = ([test["mean_timesteps"]], [100 * test["accuracy_with_exit"]])
        axes.plot(*star, "*", color=colour, markersize=13)
    axes.set(xlabel="mean timesteps (squares: all samples at that timestep)", ylabel="test accuracy, %")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)
