"""The figures beside the table of trained networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from shared.manifest import Manifest


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
    axes.set_prop_cycle(color=[plt.get_cmap("tab20")(index) for index in range(20)])
    for manifest in manifests:
        test = _measured(manifest)
        curve = test.get("curve", [])
        steps, accuracies = [point[1] for point in curve], [100 * point[2] for point in curve]
        (line,) = axes.plot(steps, accuracies, label=manifest.name)
        fixed = [100 * value for value in test["accuracy_by_timestep"]]
        axes.plot(range(1, len(fixed) + 1), fixed, "s", color=line.get_color(), fillstyle="none")
        star = ([test["mean_timesteps"]], [100 * test["accuracy_with_exit"]])
        axes.plot(*star, "*", color=line.get_color(), markersize=13)
    axes.set(xlabel="mean timesteps (squares: all samples at that timestep)", ylabel="test accuracy, %")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)
