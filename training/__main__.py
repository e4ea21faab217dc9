"""`neucodex-train`: from a data set and a recipe to a bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from shared.bundle import Bundle
from shared.command_line import existing_path, log_options, option, run, version_option
from shared.errors import ConfigError
from shared.logs import LogFormat, configure_logs
from shared.models.load import load_network
from training import report
from training.collect_spikes import bundle_samples
from training.commands import codec, local_exit
from training.commands.data import data as data_commands
from training.commands.executions import equip, executions
from training.commands.graphs import RUNTIMES, GraphRuntime, add_graphs, held_out_samples
from training.commands.import_weights import import_weights
from training.commands.new import new
from training.commands.sign import make_key, sign
from training.commands.teacher import teacher
from training.data import TrainingData, load_data
from training.datasets.folder import test_pictures
from training.deploy import export_bundle, run_calibration, run_evaluation
from training.device import Machine, machine
from training.rate_graphs import rate_graphs, write_rate_graphs
from training.recipe import Recipe, StageKind, read_recipe
from training.recipe import uncompressed as uncompressed_recipe
from training.stages import train_stage

log = logging.getLogger("neucodex.train")

F = TypeVar("F", bound=Callable[..., Any])

FIRST_PICTURES = 3
"""For the command that serves a new bundle."""


@dataclass(frozen=True)
class Job:
    """One command's inputs, read and ready."""

    recipe: Recipe
    data: TrainingData
    root: Path | None
    runs: Path
    machine: Machine

    @property
    def results(self) -> Path:
        """The folder for the measurements of the finished network."""
        return self.runs / self.recipe.name


def _job_options(command: F, *, recipe_required: bool = True) -> F:
    for decorate in reversed(
        (
            option(
                "--recipe", type=click.Path(path_type=Path), required=recipe_required, help="The recipe, a TOML file."
            ),
            option(
                "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a field of the recipe, as in TOML."
            ),
            option("--data", type=click.Path(path_type=Path), help="The folder with the data sets."),
            option("--runs", type=click.Path(path_type=Path), default=Path("runs"), help="Where runs are kept."),
            option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="What to compute on."),
            option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", help="Of the training."),
            option("--threads", type=click.IntRange(min=1), help="CPU threads; PyTorch's choice if not given."),
            option("--init", type=click.Path(path_type=Path), help="Begin with these weights, where they fit."),
            option("--checkpoint-seconds", type=click.FloatRange(min=0.0), default=240.0, help="Between checkpoints."),
            log_options,
        )
    ):
        command = decorate(command)
    return command


@contextmanager
def _job(
    recipe: Path,
    changes: tuple[str, ...],
    data: Path | None,
    runs: Path,
    device: str,
    precision: str,
    threads: int | None,
    init: Path | None,
    checkpoint_seconds: float,
    log_format: LogFormat,
    log_level: str,
) -> Iterator[Job]:
    configure_logs(log_format, log_level)
    chosen = read_recipe(recipe, changes)
    if init is not None:
        first, *others = chosen.stages
        chosen = replace(chosen, stages=(replace(first, init=str(init)), *others))
    with machine(device, precision, threads, checkpoint_seconds) as where:
        yield Job(chosen, load_data(chosen, data), data, runs, where)


@click.group(epilog="Exit codes: 0 done, 2 wrong recipe or usage, 3 bundle, 4 data, 130 interrupted.")
@version_option
def main_group() -> None:
    """Train a spiking network for NeuCODEX, stage by stage, and export it as a bundle.

    A run that was killed goes on from its last checkpoint. On several GPUs:
    torchrun --nproc-per-node N -m training all --recipe FILE.
    """


main_group.add_command(new)
main_group.add_command(data_commands)
main_group.add_command(import_weights)
main_group.add_command(teacher)
main_group.add_command(codec.codec)
main_group.add_command(local_exit.local_exit)
main_group.add_command(executions)
main_group.add_command(make_key)
main_group.add_command(sign)


def _train(job: Job, kinds: tuple[StageKind, ...]) -> None:
    for index, stage in enumerate(job.recipe.stages):
        if stage.kind in kinds:
            train_stage(job.recipe, index, job.data, job.runs, job.machine)


@main_group.command()
@_job_options
def backbone(**settings: Any) -> None:
    """Train the network without a bottleneck."""
    with _job(**settings) as job:
        _train(job, ("backbone",))


@main_group.command()
@_job_options
def bottleneck(**settings: Any) -> None:
    """Train the bottleneck alone, towards what the uncompressed network does."""
    with _job(**settings) as job:
        _train(job, ("bottleneck",))


@main_group.command()
@_job_options
def finetune(**settings: Any) -> None:
    """Train the whole network."""
    with _job(**settings) as job:
        _train(job, ("finetune",))


@main_group.command()
@_job_options
@option("--budget", type=float, help="Accuracy that early exit may cost, 0.005 for half a point; else the recipe's.")
def calibrate(budget: float | None, **settings: Any) -> None:
    """Choose temperature and exit threshold on the held-out samples."""
    with _job(**settings) as job:
        recipe = job.recipe
        if budget is not None:
            recipe = replace(recipe, calibration=replace(recipe.calibration, budget=budget))
        if job.machine.leads:
            _calibrate(replace(job, recipe=recipe))


@main_group.command()
@_job_options
def evaluate(**settings: Any) -> None:
    """Measure the calibrated network on the test samples; write the curve of accuracy against mean timesteps."""
    with _job(**settings) as job:
        if job.machine.leads:
            _evaluate(job)


_runtime_option = option(
    "--runtime",
    "runtimes",
    type=click.Choice(get_args(GraphRuntime)),
    multiple=True,
    help="Write the head for this runtime, too; onnx-int8 includes onnx. Both of a run, onnx with --bundle.",
)


@main_group.command()
@partial(_job_options, recipe_required=False)
@option("--out", type=click.Path(path_type=Path), help="The bundle's folder; models/<name> if not given.")
@_runtime_option
@option("--bundle", type=existing_path, metavar="DIR", help="Add the runtimes to this bundle, instead of --recipe.")
@option("--dataset", metavar="NAME", help="With --bundle and onnx-int8: what it was trained on, if it does not say.")
@option(
    "--uncompressed", is_flag=True, help="The network of the backbone stages, without a bottleneck; calibrated here."
)
def export(
    out: Path | None,
    runtimes: tuple[GraphRuntime, ...],
    bundle: Path | None,
    dataset: str | None,
    uncompressed: bool,
    **settings: Any,
) -> None:
    """Write the bundle of a finished run, or add runtimes to a bundle that exists (its fingerprint changes)."""
    if (bundle is None) == (settings["recipe"] is None):
        raise ConfigError("name either --recipe, whose run is finished, or --bundle, which exists")
    if uncompressed and bundle is not None:
        raise ConfigError("--uncompressed goes with --recipe: a bundle holds no other network than its own")
    if bundle is not None:
        configure_logs(settings["log_format"], settings["log_level"])
        opened = Bundle.open(bundle)
        data = settings["data"]
        known = held_out_samples(opened, data)
        written = add_graphs(
            opened, runtimes or ("onnx",), lambda: bundle_samples(opened, dataset, data)[0], lambda: known
        )
        if "rate" in written.manifest.executions:
            graphs = rate_graphs(load_network(written), known, written.manifest.normalisation)
            written = write_rate_graphs(written, graphs)
        report.tell_bundle(written)
        return
    with _job(**settings) as job:
        if job.machine.leads:
            if uncompressed:
                _export_uncompressed(job, out, runtimes)
            else:
                _export(job, out, runtimes)


@main_group.command(name="all")
@_job_options
@option("--out", type=click.Path(path_type=Path), help="The bundle's folder; models/<name> if not given.")
@_runtime_option
def everything(out: Path | None, runtimes: tuple[GraphRuntime, ...], **settings: Any) -> None:
    """All stages, calibration, evaluation and export."""
    with _job(**settings) as job:
        _train(job, ("backbone", "bottleneck", "finetune"))
        if job.machine.leads:
            _calibrate(job)
            _evaluate(job)
            bundle = _export(job, out, runtimes)
            report.tell_commands(bundle.path, _inputs(job))


def _inputs(job: Job) -> list[str]:
    """What the edge may classify first: pictures that were kept for testing, one of each of a few classes."""
    where = [] if job.root is None else ["--data", str(job.root)]
    if job.recipe.data.name != "folder" or job.root is None:
        return ["--dataset", job.recipe.data.name, *where]
    return ["--images", *(str(path) for path in test_pictures(job.root, FIRST_PICTURES))]


def _export(job: Job, out: Path | None, runtimes: tuple[GraphRuntime, ...]) -> Bundle:
    log.info("writing the bundle: graphs, codec tables, local exits")
    bundle = export_bundle(job.recipe, job.data, job.runs, out or Path("models") / job.recipe.name, job.machine)
    bundle = equip(bundle, job.data, runtimes or RUNTIMES)
    report.tell_bundle(bundle)
    return bundle


def _export_uncompressed(job: Job, out: Path | None, runtimes: tuple[GraphRuntime, ...]) -> None:
    """The network without a bottleneck, with which the pair is compared."""
    plain = replace(job, recipe=uncompressed_recipe(job.recipe))
    _calibrate(plain)
    _evaluate(plain)
    _export(plain, out or Path("benchmarks/uncompressed") / job.recipe.name, runtimes)


def _calibrate(job: Job) -> None:
    log.info("calibrating on %d held-out samples", len(job.data.held_out))
    for execution, result in run_calibration(job.recipe, job.data, job.runs, job.machine).items():
        report.print_calibration(execution, result)


def _evaluate(job: Job) -> None:
    log.info("measuring on %d test samples", len(job.data.test))
    for execution, result in run_evaluation(job.recipe, job.data, job.runs, job.machine).items():
        report.print_evaluation(execution, result)
        report.plot_curve(result, job.results / f"exit-curve-{execution}.png")


def main() -> None:
    """Entry point of `neucodex-train`."""
    run(main_group)


if __name__ == "__main__":
    main()
