"""The figures beside the table of trained networks."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from shared.bundle import Manifest


def plot_bits(manifests: Sequence[Manifest], path: Path) -> None:
    """Test accuracy at full T against the bits of a frame; dotted, that of the uncompressed network."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for manifest in manifests:
        test = manifest.provenance["test"]
        bits = prod(manifest.frame_shape)
        (point,) = axes.plot([bits], [100 * test["accuracy_by_timestep"][-1]], "o", label=manifest.name)
        if whole := test.get("uncompressed_accuracy_by_timestep"):
            axes.axhline(100 * whole[-1], color=point.get_color(), linestyle=":", linewidth=1.0)
    axes.set(xscale="log", xlabel="bits of a frame, before the codec", ylabel="test accuracy at full T, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_timesteps(manifests: Sequence[Manifest], path: Path) -> None:
    """Test accuracy against mean timesteps over all exit thresholds; the star is the calibrated one."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for manifest in manifests:
        test = manifest.provenance["test"]
        curve = test.get("curve", [])
        steps, accuracies = [point[1] for point in curve], [100 * point[2] for point in curve]
        (line,) = axes.plot(steps, accuracies, label=manifest.name)
        fixed = [100 * value for value in test["accuracy_by_timestep"]]
        axes.plot(range(1, len(fixed) + 1), fixed, "s", color=line.get_color(), fillstyle="none")
        star = ([test["mean_timesteps"]], [100 * test["accuracy_with_exit"]])
        axes.plot(*star, "*", color=line.get_color(), markersize=13)
    axes.set(xlabel="mean timesteps (squares: all samples at that timestep)", ylabel="test accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
