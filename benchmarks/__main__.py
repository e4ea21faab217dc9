"""`neucodex-bench`: each benchmark writes one record, benchmarks/records/<date>-<what>/record.json, and its plots."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmarks.record import Clock, Findings
from shared.command_line import option, run

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def main_group() -> None:
    """Measure NeuCODEX; every figure in the documentation comes from here."""


def _options(command: F) -> F:
    command = option("--out", type=click.Path(path_type=Path), help="The record's folder.")(command)
    return option("--quick", is_flag=True, help="Less of everything: does it run, not how fast is it.")(command)


def _record(what: str, out: Path | None, measure: Callable[[Path], Findings]) -> None:
    folder = out or Path("benchmarks/records") / f"{date.today().isoformat()}-{what}"
    clock = Clock(what)
    findings = measure(folder)
    click.echo(f"record: {clock.write(findings, folder)}")
    for target in findings.targets:
        verdict = {None: "not measured", True: "met", False: "missed"}[target.met]
        click.echo(f"{verdict:>12}  {target.name}: {target.measured} {target.unit} (goal {target.goal}) {target.note}")


@main_group.command("event-simulation")
@_options
@option("--data", type=click.Path(path_type=Path), required=True, help="Holds events/samples and the data sets.")
def event_simulation(data: Path, out: Path | None, quick: bool) -> None:
    """Simulated events beside the two real recordings whose picture is known."""
    from benchmarks.event_simulation import measure  # noqa: PLC0415  each command imports what it alone needs

    _record("event-simulation", out, lambda folder: measure(folder, data, quick))


@main_group.command("train")
@_options
@option("--threads", type=click.IntRange(min=1), help="CPU threads; PyTorch's choice if not given.")
@option("--batch", type=click.IntRange(min=2), default=64, help="Samples in a training step.")
def train(out: Path | None, quick: bool, threads: int | None, batch: int) -> None:
    """Samples a second of a training step: ours and plain snnTorch, quantised and spiking."""
    from benchmarks.train import measure  # noqa: PLC0415

    _record("train", out, lambda _: measure(threads, batch, quick))


def main() -> None:
    """Entry point of `neucodex-bench`."""
    run(main_group)


if __name__ == "__main__":
    main()
