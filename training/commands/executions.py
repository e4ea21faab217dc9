"""`neucodex-train executions`: calibrate, measure and equip every execution of a bundle, from its weights alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import get_args

import click

from shared.bundle import Bundle
from shared.bundle_writer import write_parts
from shared.command_line import existing_path, option
from shared.execution import executions_of
from shared.manifest import EXTRAS
from shared.models.load import load_network
from training import report
from training.collect_spikes import bundle_spikes
from training.commands import codec, local_exit
from training.commands.graphs import RUNTIMES, GraphRuntime, add_graphs
from training.data import TrainingData, bundle_data, evenly_spaced
from training.device import Machine, machine
from training.execute import execute_network
from training.measure import (
    better,
    calibrate_execution,
    evaluate_execution,
    execution_spec,
    known_calibration,
    read_uncompressed,
)
from training.rate_graphs import rate_graphs, write_rate_graphs


@click.command()
@option("--bundle", type=existing_path, required=True, metavar="DIR", help="Gets every execution that its network has.")
@option("--uncompressed", type=existing_path, metavar="DIR", help="The bundle without a bottleneck to compare with.")
@option("--dataset", metavar="NAME", help="What the bundle was trained on; it says so itself.")
@option("--data", type=existing_path, metavar="DIR", help="Where the data set is, if it is not in the package.")
@option(
    "--budget", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="As calibrate's; else the bundle's."
)
@option(
    "--runtime", "runtimes", type=click.Choice(get_args(GraphRuntime)), multiple=True, help="Graphs; all if not given."
)
@option("--threads", type=click.IntRange(min=1), help="CPU threads; PyTorch's choice if not given.")
def executions(
    bundle: Path,
    uncompressed: Path | None,
    dataset: str | None,
    data: Path | None,
    budget: float | None,
    runtimes: tuple[GraphRuntime, ...],
    threads: int | None,
) -> None:
    """Calibrate and measure each execution of a bundle, and fit tables, local exits and graphs to it again.

    The weights stay. It is what `export` does after training, for a bundle that exists; its fingerprint changes.
    """
    opened = Bundle.open(bundle)
    known = bundle_data(opened, data, dataset)
    with machine("cpu", "fp32", threads) as here:
        plain = None if uncompressed is None else Bundle.open(uncompressed)
        written = add_executions(opened, known, here, budget, plain)
        written = equip(written, known, runtimes or RUNTIMES)
    report.tell_bundle(written)


def add_executions(
    bundle: Bundle, data: TrainingData, here: Machine, budget: float | None = None, uncompressed: Bundle | None = None
) -> Bundle:
    """Calibrate every execution on the held-out samples, measure it on the test samples, and choose the default.

    Args:
        bundle: it is changed, and loses the parts that were fitted to its executions before.
        data: the data set that it was trained with.
        here: the machine that computes.
        budget: accuracy that early exit may cost; None keeps the bundle's own.
        uncompressed: the bundle of the network without a bottleneck, which is measured in the same executions.
    """
    manifest = bundle.manifest
    network = load_network(bundle)
    chosen = known_calibration(bundle.settings, budget)
    readings = {} if uncompressed is None else read_uncompressed(load_network(uncompressed), data, here)
    graphs = None
    if "rate" in executions_of(manifest.network):
        graphs = rate_graphs(network, data.held_out, data.normalisation)
    calibrations, specs = {}, {}
    for execution, executed in execute_network(network, graphs).items():
        calibration = calibrations[execution] = calibrate_execution(execution, executed, data, chosen, here)
        report.print_calibration(execution, calibration)
        evaluation = evaluate_execution(execution, executed, data, calibration, here)
        evaluation["uncompressed_accuracy_by_timestep"] = readings.get(execution)
        report.print_evaluation(execution, evaluation)
        specs[execution] = execution_spec(calibration, evaluation)
    manifest = replace(manifest, executions=specs, default_execution=better(calibrations))
    bundle = write_parts(bundle, manifest, dict.fromkeys(EXTRAS)).run_as(manifest.default_execution)
    return bundle if graphs is None else write_rate_graphs(bundle, graphs)


def equip(bundle: Bundle, data: TrainingData, runtimes: Collection[GraphRuntime]) -> Bundle:
    """Write graphs, codec tables and a local exit for every execution of a calibrated bundle."""
    train = data.train.frames.numpy()
    default = bundle.execution
    for execution in bundle.manifest.executions:
        bundle = bundle.run_as(execution)
        if execution == "spiking":  # the other's graphs are there: it was calibrated with them
            bundle = add_graphs(bundle, runtimes, lambda: train, lambda: data.held_out)
        if bundle.manifest.network.bottleneck is None:
            continue  # the network for comparison: it sends the split's own spikes, without tables
        spikes = bundle_spikes(bundle, evenly_spaced(train, local_exit.SAMPLES))  # the longest part: once for both
        bundle = codec.add_codec(bundle, evenly_spaced(spikes, codec.SAMPLES))
        bundle = local_exit.add_local_exit(bundle, data, spikes)
    return bundle.run_as(default)
