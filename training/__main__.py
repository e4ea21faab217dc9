"""`neucodex-train`: from a data set and a recipe to a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from shared.command_line import LogFormat, configure_logs, log_options, option, run
from training import report
from training.commands.codec import add_codec
from training.commands.codec import codec as codec_command
from training.commands.data import data as data_commands
from training.data import TrainingData, load_data
from training.finished import export_bundle, read_calibration, run_calibration, run_evaluation
from training.machine import Machine, machine
from training.recipe import Kind, Recipe, read_recipe
from training.stages import train_stage

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Job:
    """One command's inputs, read and ready."""

    recipe: Recipe
    data: TrainingData
    runs: Path
    machine: Machine

    @property
    def results(self) -> Path:
        """The folder of what is measured of the finished network."""
        return self.runs / self.recipe.name


def _job_options(command: F) -> F:
    for decorate in reversed(
        (
            option("--recipe", type=click.Path(path_type=Path), required=True, help="The recipe, a TOML file."),
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
        chosen = replace(chosen, init=str(init))
    with machine(device, precision, threads, checkpoint_seconds) as where:
        yield Job(chosen, load_data(chosen, data), runs, where)


@click.group(epilog="Exit codes: 0 done, 2 wrong recipe or usage, 3 bundle, 4 data, 130 interrupted.")
def main_group() -> None:
    """Train a spiking network for NeuCODEX, stage by stage, and export it as a bundle.

    A run that was killed goes on from its last checkpoint. On several GPUs:
    torchrun --nproc-per-node N -m training all --recipe FILE.
    """


main_group.add_command(data_commands)
main_group.add_command(codec_command)


def _train(job: Job, kinds: tuple[Kind, ...]) -> None:
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
    """Train all of it together."""
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
            report.print_calibration(run_calibration(recipe, job.data, job.runs, job.machine))


@main_group.command()
@_job_options
def evaluate(**settings: Any) -> None:
    """Measure the calibrated network on the test samples; write the curve of accuracy against mean timesteps."""
    with _job(**settings) as job:
        if job.machine.leads:
            result = run_evaluation(job.recipe, job.data, job.runs, job.machine)
            report.print_evaluation(result)
            report.plot_curve(result, read_calibration(job.recipe, job.runs), job.results / "exit-curve.png")


@main_group.command()
@_job_options
@option("--out", type=click.Path(path_type=Path), help="The bundle's folder; models/<name> if not given.")
def export(out: Path | None, **settings: Any) -> None:
    """Write the bundle."""
    with _job(**settings) as job:
        if job.machine.leads:
            _export(job, out)


@main_group.command(name="all")
@_job_options
@option("--out", type=click.Path(path_type=Path), help="The bundle's folder; models/<name> if not given.")
def everything(out: Path | None, **settings: Any) -> None:
    """All stages, calibration, evaluation and export."""
    with _job(**settings) as job:
        _train(job, ("backbone", "bottleneck", "finetune"))
        if job.machine.leads:
            report.print_calibration(run_calibration(job.recipe, job.data, job.runs, job.machine))
            result = run_evaluation(job.recipe, job.data, job.runs, job.machine)
            report.print_evaluation(result)
            report.plot_curve(result, read_calibration(job.recipe, job.runs), job.results / "exit-curve.png")
            _export(job, out)


def _export(job: Job, out: Path | None) -> None:
    bundle = export_bundle(job.recipe, job.data, job.runs, out or Path("models") / job.recipe.name, job.machine)
    bundle = add_codec(bundle, job.data.train.frames.numpy())
    click.echo(f"bundle {bundle.path}, fingerprint {bundle.fingerprint.hex()[:16]}")


def main() -> None:
    """Entry point of `neucodex-train`."""
    run(main_group)


if __name__ == "__main__":
    main()
