"""The table of trained networks, from the bundles' own provenance: no figure in it is typed by hand."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from shared.bundle import Bundle, Manifest
from shared.errors import ConfigError
from shared.network_spec import FLOAT_BITS

BEGIN, END = "<!-- bundles: begin -->", "<!-- bundles: end -->"

COLUMNS = (
    "bundle",
    "data",
    "network",
    "cut after",
    "ratio",
    "test accuracy at T=1, 2, ...",
    "exit at",
    "accuracy with exit",
    "mean timesteps",
    "spike density",
    "seed, epochs",
    "trained on",
    "minutes",
)


def table(models: Path) -> str:
    """A Markdown table with a row for each bundle in a folder.

    Raises:
        BundleError: one of them does not open.
    """
    rows = [_row(Bundle.open(path.parent).manifest) for path in sorted(models.glob("*/manifest.json"))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (COLUMNS, ["---"] * len(COLUMNS), *rows))


def rewrite(page: Path, models: Path) -> None:
    """Put the table between the marks of a page.

    Raises:
        ConfigError: the page has no such marks.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{page} lacks the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{table(models)}\n{END}{after}")


def ratio(manifest: Manifest) -> float:
    """The paper's count: 32 bits a value of the feature map at the split over the bits of a frame, per timestep."""
    return FLOAT_BITS * prod(manifest.split_shape) / prod(manifest.frame_shape)


def _row(manifest: Manifest) -> list[str]:
    network, origin = manifest.network, manifest.provenance
    test: dict[str, Any] = origin["test"]
    data = f"{origin['data']['name']}, {'**simulated**' if origin['simulated_data'] else 'real'}, n={test['samples']}"
    return [
        manifest.name,
        data,
        f"{network.backbone}, width {network.width}, T={network.timesteps}",
        network.split,
        f"{ratio(manifest):,.0f}x ({prod(manifest.frame_shape)} bits a frame)",
        ", ".join(f"{100 * value:.2f}" for value in test["accuracy_by_timestep"]) + " %",
        f"{manifest.exit_policy.measure} >= {manifest.exit_policy.threshold:g}",
        f"{100 * test['accuracy_with_exit']:.2f} %",
        f"{test['mean_timesteps']:.2f}",
        f"{test['frame']['density']:.3f}",
        f"{origin['seed']}, {'+'.join(str(stage['epochs']) for stage in origin['stages'])}",
        origin["machine"],
        f"{sum(origin['seconds']) / 60:.0f}",
    ]
