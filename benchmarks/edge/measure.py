"""All measurements of the edge in one run, under one record."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from benchmarks.edge import cuts, dead_link, heads, lookahead, overhead, start_up
from benchmarks.edge.base import Setup
from benchmarks.processes import allow_many_files
from benchmarks.record import Findings, Goal
from shared.errors import NeucodexError

MEASUREMENTS: dict[str, Callable[[Setup], Findings]] = {
    "heads": heads.measure,
    "start-up": start_up.measure,
    "overhead": overhead.measure,
    "lookahead": lookahead.measure,
    "cuts": cuts.measure,
    "dead-link": dead_link.measure,
}


def measure(bundle: Path, dataset: str, data: Path | None, only: Sequence[str], quick: bool) -> Findings:
    """Run those named in `only`, or all of them, one after the other."""
    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="neucodex-edge-") as folder:
        setup = Setup(bundle, dataset, data, Path(folder), quick)
        names = tuple(only or MEASUREMENTS)
        parts = {
            name: _measure_one(f"{number} of {len(names)}, {name}", name, setup) for number, name in enumerate(names, 1)
        }
    return Findings(
        n={name: part.n for name, part in parts.items()},
        results={name: part.results for name, part in parts.items()},
        targets=[target for part in parts.values() for target in part.targets],
    )


def _measure_one(title: str, name: str, setup: Setup) -> Findings:
    """One measurement, on standard error when it begins and ends; one that fails takes nothing from the others."""
    click.echo(f"{title} ...", err=True)
    began = time.monotonic()
    try:
        part = MEASUREMENTS[name](setup)
    except (NeucodexError, OSError, RuntimeError) as error:
        why = f"{type(error).__name__}: {error}"
        part = Findings({}, {"failed": why}, [Goal(f"{name}, measured at all", 1.0, None, "", "higher", why)])
    seconds = round(time.monotonic() - began, 1)
    click.echo(f"{title}: {part.results.get('failed', 'done')}, {seconds} s", err=True)
    return replace(part, results={**part.results, "seconds": seconds})
