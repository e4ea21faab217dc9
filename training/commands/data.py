"""`neucodex-train data`: which data sets there are, fetch one, check one, simulate one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from shared.command_line import option
from shared.datasets import DATASETS, Binning, DatasetInfo, Part, info, list_pieces, make_request
from shared.errors import SourceError
from training.datasets.download import download
from training.datasets.simulate import PARTS, SETS, SimulationRecipe, simulate_set

SHOWN_DAMAGED = 20

data_folder = option(
    "--data",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder with the data sets.",
)


@click.group()
def data() -> None:
    """Data sets: list, download, check, simulate."""


@data.command("list")
@option("--data", "root", type=click.Path(path_type=Path, file_okay=False), help="Where to look for them.")
def list_sets(root: Path | None) -> None:
    """What data sets there are, how they are split, and whether they are in --data."""
    table = Table(title=None, show_lines=True)
    for column in ("name", "kind", "classes", "train + test", "split", "expected in --data", "here"):
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for known in DATASETS.values():
        train, test = known.recordings
        kind = f"{known.kind}, SIMULATED" if known.simulated else known.kind
        row = (known.name, kind, str(len(known.classes)), f"{train:,} + {test:,}", known.split_note, known.layout)
        table.add_row(*row, _presence(known, root))
    Console().print(table)


@data.command("download")
@click.argument("name", type=click.Choice(list(DATASETS)))
@data_folder
@option("--url", help="Fetch from this mirror; the publisher's checksum still applies.")
def download_set(name: str, root: Path, url: str | None) -> None:
    """Fetch a data set from its publisher, check it, and unpack it into --data."""
    with _bar(f"downloading {name}", DownloadColumn()) as show:
        download(info(name), root, url=url, progress=show)
    click.echo(f"{name} is in {root}")


@data.command("check")
@click.argument("name", type=click.Choice(list(DATASETS)))
@option("--data", "root", type=click.Path(path_type=Path, file_okay=False), help="The folder with the data sets.")
@option("--size", type=click.IntRange(1), help="Side of the frames, for a simulated set of another size.")
@option("--timesteps", type=click.IntRange(1), help="Frames of a recording, for a simulated set with another number.")
@option("--allow-partial", is_flag=True, help="Accept fewer files than the publisher's.")
def check_set(name: str, root: Path | None, size: int | None, timesteps: int | None, allow_partial: bool) -> None:
    """Decode every file of a data set: count samples and classes, name damaged files (then exit code 4)."""
    known = info(name)
    damaged: list[str] = []
    for part in PARTS:
        counts = np.zeros(len(known.classes), np.int64)
        request = make_request(name, root, part, size=size, timesteps=timesteps, allow_partial=allow_partial)
        pieces = list_pieces(request)
        with _bar(f"{name} {part}", MofNCompleteColumn()) as show:
            for done, piece in enumerate(pieces, 1):
                try:
                    counts += np.bincount(known.decode(piece, request).labels, minlength=len(counts))
                except SourceError as error:
                    damaged.append(str(error))
                show(done, len(pieces))
        click.echo(
            f"{name} {part}: {counts.sum():,} samples in {np.count_nonzero(counts)} classes, "
            f"{counts.min()} to {counts.max()} in a class{', SIMULATED' if known.simulated else ''}"
        )
    for line in damaged[:SHOWN_DAMAGED]:
        click.echo(line, err=True)
    if damaged:
        raise SourceError(f"{name}: {len(damaged)} damaged files, the first is {damaged[0]}")


@data.command("simulate")
@click.argument("name", type=click.Choice(list(SETS)))
@data_folder
@option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where the set is written; --data without it.")
@option("--size", type=click.IntRange(1), default=64, help="Side of the frames in pixels.")
@option("--timesteps", type=click.IntRange(1), default=10, help="Frames of a recording.")
@option("--binning", type=click.Choice(["count", "time"]), default="count", help="Frames of equal count or duration.")
@option("--seed", type=int, default=0, help="Of thresholds and noise.")
@option("--per-class", type=click.IntRange(1), help="Simulate no more pictures of a class (a partial set).")
@option("--workers", type=click.IntRange(1), default=1, help="Processes; the events do not depend on it.")
def simulate(
    name: str,
    root: Path,
    out: Path | None,
    size: int,
    timesteps: int,
    binning: Binning,
    seed: int,
    per_class: int | None,
    workers: int,
) -> None:
    """Make events from a whole set of pictures, by a simulated camera or by I2E; the result is marked as simulated."""
    recipe = SimulationRecipe(size, timesteps, binning, seed, per_class)
    with _bar(f"simulating {name}", MofNCompleteColumn()) as show:
        folder = simulate_set(name, root, out or root, recipe, workers=workers, progress=show)
    click.echo(f"{folder} (SIMULATED: no camera recorded these events)")


class _Show(Protocol):
    def __call__(self, done: int, total: int | None) -> None: ...


@contextmanager
def _bar(title: str, column: DownloadColumn | MofNCompleteColumn) -> Iterator[_Show]:
    """A progress bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), column, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)

        def show(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield show


def _presence(known: DatasetInfo, root: Path | None) -> str:
    if not known.needs_root:
        return "yes"
    if root is None:
        return "say --data"
    return "; ".join(f"{part}: {_present(known, root, part)}" for part in PARTS)


def _present(known: DatasetInfo, root: Path, part: Part) -> str:
    for allow_partial in (False, True):
        try:
            files = len(known.list_pieces(make_request(known.name, root, part, allow_partial=allow_partial)))
        except SourceError:
            continue
        return f"partial, {files} files" if allow_partial else "yes"
    return "no"
