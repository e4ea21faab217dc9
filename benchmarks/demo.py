"""`make demo`: a cloud and an edge as two real processes on loopback classify pictures together.

The edge runs twice. The first run stops samples early, and gives the lines, bytes and latency; the second takes every
sample to the last timestep, and gives the accuracy that early exit is compared with. Of digits the picture
files are those of the 8 x 8 scans, not of their enlargements.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from benchmarks.processes import ANY_PORT, CloudProcess, end, end_as_ctrl_c, start
from benchmarks.record import Clock, Findings
from benchmarks.scans import compared_with_scans
from edge_client.output.report import print_table, summary_table
from shared.command_line import execution_option, existing_path, option, run
from shared.datasets.digits import DIGITS
from shared.execution import Execution

START_S = 60.0
"""A cloud that is not ready by then will not be: it loads a bundle of some MB, on a machine that may be busy."""


@click.command()
@option("--bundle", type=existing_path, default=Path("models/resnet18-digits"), help="The trained model.")
@option(
    "--images", type=existing_path, metavar="DIR", help="Classify the pictures in this folder, a subfolder a class."
)
@option("--dataset", help="Classify the test part of a data set; digits where neither is given.")
@option("--data", type=existing_path, help="Where the data set is, if it is not embedded.")
@option("--limit", type=int, help="Stop after so many samples.")
@option("--threshold", type=float, help="Certainty (0..1) at which a sample stops; else the bundle's own.")
@option("--rate", type=float, help="At most so many samples a second in the first run, for people who watch it.")
@option("--live", is_flag=True, help="Draw the first run on the terminal while it goes on.")
@execution_option
@option("--record", type=existing_path, metavar="DIR", help="Also write what was measured to DIR/record.json.")
def main(
    bundle: Path,
    images: Path | None,
    dataset: str | None,
    data: Path | None,
    limit: int | None,
    threshold: float | None,
    rate: float | None,
    live: bool,
    execution: Execution | None,
    record: Path | None,
) -> int:
    """Start a cloud and an edge on this machine, classify, print what it took, end both."""
    end_as_ctrl_c()
    clock = Clock("demo")
    dataset = dataset or (None if images else DIGITS.name)
    edge = ["--bundle", str(bundle)]
    given = {"--images": images, "--dataset": dataset, "--data": data, "--limit": limit, "--threshold": threshold}
    for flag, value in given.items():
        edge += [] if value is None else [flag, str(value)]
    # One thread: the edge wants the other core of a small machine, and threads that spin for each other starve both.
    flags: list[object] = ["--threads", 1, "--log-level", "warning"]
    if execution is not None:
        edge += ["--execution", execution]
        flags += ["--execution", execution]
    with (
        tempfile.TemporaryDirectory(prefix="neucodex-demo-") as folder,
        CloudProcess([bundle], Path(folder), *flags) as cloud,
    ):
        cloud.wait_ready(START_S)
        click.echo(f"cloud ready at {cloud.listen}, its metrics at http://{cloud.metrics_address}/metrics", err=True)
        edge += ["--cloud", cloud.listen]
        click.echo(f"\n1 of 2: {dataset or images} with early exit", err=True)
        looks = [*(["--live"] if live else []), *(["--rate", str(rate)] if rate is not None else [])]
        code, early = _edge([*edge, "--metrics", ANY_PORT, *looks], Path(folder) / "early.json")
        if early is None:
            return code
        click.echo("\n2 of 2: the same samples to the last timestep", err=True)
        full_code, full = _edge([*edge, "--full-t", "--show", "0", "--no-picture-sizes"], Path(folder) / "full.json")
        if full is None:
            return full_code
    if dataset == DIGITS.name:
        early = compared_with_scans(early)
    click.echo()
    print_table(summary_table({**early, "accuracy_full_t": full["accuracy"]}), sys.stdout)
    if record is not None:
        results = {"with early exit": early, "all timesteps": full}
        clock.write(Findings(n={"samples": early["samples"]}, results=results), record)
    return code or full_code


def _edge(arguments: list[str], summary: Path) -> tuple[int, dict[str, Any] | None]:
    """Run an edge to its end, with our output as its own; returns its exit code and its summary, if it wrote one."""
    process = start(["edge_client", "classify", "--insecure", *arguments, "--summary-file", str(summary)])
    try:
        code = process.wait()
    finally:
        end(process)
    # 0 and 1 are complete runs, with or without samples that failed.
    return code, json.loads(summary.read_text()) if code in (0, 1) and summary.exists() else None


if __name__ == "__main__":
    run(main)
