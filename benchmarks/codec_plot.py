"""The codec benchmark's plot: bytes of real frames, and random spikes against their entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SHOWN = ("packed bits", "zstd, dictionary", "positions (varints)", "codec (range-coded)")
POSITIONS = 512


def plot(out: Path, sizes: Mapping[str, Any], synthetic: Sequence[Mapping[str, Any]]) -> None:
    """Write `codec.png` into `out`: mean bytes by timestep, and bytes over entropy by density."""
    import matplotlib  # noqa: PLC0415  seconds to import

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    out.mkdir(parents=True, exist_ok=True)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    by_timestep = sizes["by timestep"]
    names = [name for name in (*SHOWN, "zero-order entropy, each frame's own density") if name in by_timestep]
    for offset, name in enumerate(names):
        values = by_timestep[name]
        at = [t + 1 + (offset - (len(names) - 1) / 2) * 0.16 for t in range(len(values))]
        left.bar(at, values, width=0.15, label=name)
    left.set_xticks(range(1, len(by_timestep[names[0]]) + 1))
    left.set_xlabel("timestep")
    left.set_ylabel("bytes of a frame, mean")
    left.set_title("Spikes of the bundle, test part")
    left.legend(fontsize=7)
    rows = [row for row in synthetic if row["positions"] == POSITIONS]
    for name in SHOWN:
        key = f"{name}: bytes over entropy"
        points = [(row["density"], row[key]) for row in rows if key in row]
        right.plot(*zip(*points, strict=True), marker="o", label=name)
    right.axhline(1.0, color="grey", linewidth=0.8)
    right.set_ylim(0.8, 5)
    right.set_xlabel("density")
    right.set_ylabel("bytes over entropy")
    right.set_title(f"Random spikes, {POSITIONS} positions")
    right.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(out / "codec.png", dpi=110)
    pyplot.close(figure)
