"""The output of `neucodex-train` for people: tables on standard output, and the exit curve as a picture."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from shared.bundle import Bundle
from shared.execution import Execution
from training.calibrate import Calibration, least_held_out

log = logging.getLogger("neucodex.train")


ADDRESS = "127.0.0.1:50051"
"""Of a first trial, on this machine."""


def print_calibration(execution: Execution, result: Calibration) -> None:
    """Print the chosen temperature and threshold, and their guarantee."""
    table = Table(title=f"Calibration of execution {execution}, on held-out samples", show_header=False)
    if execution == "spiking":
        table.add_row("leak of the readout", f"{result.readout_leak:g}")
    table.add_row("temperature", f"{result.temperature:.3f}")
    table.add_row("exit", str(result.policy))
    table.add_row("mean timesteps", f"{result.mean_timesteps:.3f}")
    table.add_row("accuracy with exit / at full T", f"{result.accuracy:.2%} / {result.full_accuracy:.2%}")
    table.add_row("promise", result.promise or no_promise(result.budget, result.failure))
    Console().print(table)


def no_promise(budget: float, failure: float) -> str:
    """Explain why there is no guarantee, and what to do."""
    return (
        f"none, and so it never exits early: at {budget:.2%} it takes {least_held_out(budget, failure)} held-out "
        "samples (data.held_out), more where some go wrong, or a larger calibration.budget"
    )


def print_evaluation(execution: Execution, result: dict[str, Any]) -> None:
    """Accuracy at each timestep, spike rates by layer, operations and bits."""
    data = "simulated" if result["simulated"] else "real"
    table = Table(title=f"Test of execution {execution}, {result['samples']} {data} samples")
    table.add_column("timestep", justify="right")
    table.add_column("accuracy", justify="right")
    table.add_column("exits", justify="right")
    for t, (accuracy, exits) in enumerate(
        zip(result["accuracy_by_timestep"], result["exits_by_timestep"], strict=True), 1
    ):
        table.add_row(str(t), f"{accuracy:.2%}", str(exits))
    table.add_section()
    table.add_row(f"{result['mean_timesteps']:.3f} on average", f"{result['accuracy_with_exit']:.2%}", "with exit")
    layers = Table(title="Spike rates")
    layers.add_column("layer")
    layers.add_column("shape")
    layers.add_column("spikes per neuron and timestep", justify="right")
    for layer in result["layers"]:
        layers.add_row(layer["name"], "x".join(map(str, layer["shape"])), f"{layer['spike_rate']:.4f}")
    frame = result["frame"]
    costs = Table(title="Costs of a sample at full T", show_header=False)
    costs.add_row("multiply-accumulates (first layer)", f"{result['multiply_accumulates'] / 1e6:.2f} M")
    costs.add_row("accumulates, edge", f"{result['accumulates_edge'] / 1e6:.2f} M")
    costs.add_row("accumulates, all", f"{result['accumulates'] / 1e6:.2f} M")
    costs.add_row("bits per frame", str(frame["bits"]))
    costs.add_row("spike density on the wire", f"{frame['density']:.4f}")
    costs.add_row("zero-order entropy per frame", f"{frame['entropy_bits']:.0f} bits")
    console = Console()
    for shown in (table, layers, costs):
        console.print(shown)


def tell_bundle(bundle: Bundle) -> None:
    """Where a finished bundle is, and a warning for each execution whose edge answers better by itself."""
    click.echo(f"bundle {bundle.path}, fingerprint {bundle.fingerprint.hex()[:16]}")
    for execution, spec in bundle.manifest.executions.items():
        test = spec.measured.get("local_exit", {}).get("test")
        if test is None:
            continue
        local, cloud = test["accuracy_by_timestep"][-1], test["cloud_accuracy_full_t"]
        if local > cloud:
            log.warning(
                "execution %s: the edge's local exit is right for %.1f %% of %d test samples, the cloud for %.1f %%: "
                "what is sent gains nothing here; the network needs more training or more samples",
                execution,
                100 * local,
                test["samples"],
                100 * cloud,
                extra={"event": "local_exit_beats_cloud", "execution": execution, "local": local, "cloud": cloud},
            )


def tell_commands(bundle: Path, inputs: Sequence[str]) -> None:
    """The two commands that serve a bundle.

    Args:
        bundle: its folder.
        inputs: what the edge is to classify, as arguments: `--images FILE...` or `--dataset NAME`.
    """
    cloud = ["neucodex-cloud", "--bundle", str(bundle), "--listen", ADDRESS, "--insecure"]
    edge = ["neucodex-edge", "classify", "--bundle", str(bundle), "--cloud", ADDRESS, "--insecure", *inputs]
    click.echo("serve it, the cloud in one terminal, the edge in another:")
    for command in (cloud, edge):
        click.echo(f"  {shlex.join(command)}")


def plot_curve(result: dict[str, Any], path: Path) -> None:
    """Accuracy against mean timesteps over all thresholds, the chosen one marked, as PNG."""
    import matplotlib as mpl  # noqa: PLC0415  slow to import, and only this needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    timesteps = [point[1] for point in result["curve"]]
    accuracies = [100 * point[2] for point in result["curve"]]
    axes.plot(timesteps, accuracies, marker=".", label=f"exit by {result['measure']}")
    fixed = [100 * value for value in result["accuracy_by_timestep"]]
    axes.plot(range(1, len(fixed) + 1), fixed, marker="s", linestyle="--", label="fixed timesteps")
    axes.plot(
        [result["mean_timesteps"]],
        [100 * result["accuracy_with_exit"]],
        marker="*",
        markersize=14,
        linestyle="none",
        label=f"threshold {result['threshold']}",
    )
    axes.set_xlabel("mean timesteps")
    axes.set_ylabel("test accuracy, %" + (" (simulated events)" if result["simulated"] else ""))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
