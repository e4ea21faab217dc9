"""`neucodex-train codec`: fit the spike codec's tables to a bundle's own spikes and write them into the bundle."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shared.bundle import Bundle
from shared.bundle_writer import write_codec
from shared.command_line import execution_option, existing_path, option
from shared.execution import Execution
from shared.spike_codec import SpikeCodec
from training import report
from training.codec_fit import fit_tables
from training.collect_spikes import SpikeTrain, bundle_samples, bundle_spikes
from training.data import evenly_spaced
from training.progress import Progress

SAMPLES = 5000
"""Training samples that the tables are fitted to. More samples give no better tables."""


@click.command()
@option(
    "--bundle", type=existing_path, required=True, metavar="DIR", help="Gets the tables; they replace those it has."
)
@option("--dataset", metavar="NAME", help="What the bundle was trained on; it says so itself.")
@option("--data", type=existing_path, metavar="DIR", help="Where the data set is, if it is not in the package.")
@option("--allow-partial", is_flag=True, help="Accept a data set that lacks recordings.")
@option("--limit", type=click.IntRange(min=1), default=SAMPLES, help="Samples to fit to, and to measure on.")
@option("--reach", type=click.IntRange(0, 3), help="Rows and columns around a spike that count; chosen if not given.")
@execution_option
@option("--threads", type=click.IntRange(min=1), help="CPU threads; PyTorch's choice if not given.")
def codec(
    bundle: Path,
    dataset: str | None,
    data: Path | None,
    allow_partial: bool,
    limit: int,
    reach: int | None,
    execution: Execution | None,
    threads: int | None,
) -> None:
    """Fit the spike codec to a bundle: to spikes of the training part, measured on those of the test part.

    The tables become part of the bundle and of its fingerprint: copy it to both machines again.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    opened = Bundle.open(bundle, execution)
    train, test = bundle_samples(opened, dataset, data, allow_partial=allow_partial)
    written = add_codec(opened, bundle_spikes(opened, evenly_spaced(train, limit)), reach)
    show_sizes(written, bundle_spikes(written, evenly_spaced(test, limit)))
    report.tell_bundle(written)


def add_codec(bundle: Bundle, frames: SpikeTrain, reach: int | None = None) -> Bundle:
    """Fit tables to spikes of training samples, [N, T, C, H, W], and write them into the bundle."""
    with Progress("fitting the codec") as progress:
        tables = fit_tables(frames, reach, lambda done, total: progress.at(done, total=total))
    return write_codec(bundle, tables.arrays())


def show_sizes(bundle: Bundle, frames: SpikeTrain) -> None:
    """Print the bytes that frames [N, T, C, H, W] take, for each timestep."""
    codec = SpikeCodec.of(bundle)
    sizes = np.array([encoded_sizes(codec, sample) for sample in frames]).mean(0)
    table = Table(title=f"Test frames: {len(frames)} samples, {codec.spikes} positions", title_justify="left")
    for name in ("timestep", "packed bits", "own entropy", "encoded", "bits per position", "packed : encoded"):
        table.add_column(name, justify="right")
    for timestep, size in enumerate(sizes):
        entropy = zero_order_bytes(frames[:, timestep])
        table.add_row(
            str(timestep + 1),
            f"{codec.packed_bytes} bytes",
            f"{entropy:.1f}",
            f"{size:.2f}",
            f"{8 * size / codec.spikes:.3f}",
            f"{codec.packed_bytes / size:.1f}x" if size else "-",
        )
    Console().print(table)
    arrays = bundle.codec_arrays() or {}
    stored = sum(values.nbytes for values in arrays.values())
    dictionary = "with" if "zstd.dictionary" in arrays else "without"
    click.echo(f"tables: {stored:,} bytes, {dictionary} a zstd dictionary")


def encoded_sizes(codec: SpikeCodec, sample: NDArray[np.uint8]) -> list[int]:
    """Bytes of each frame of a sample [T, C, H, W]."""
    sizes, past = [], None
    for frame in sample:
        sizes.append(len(codec.encode(frame, past)[1]))
        past = codec.next_context(past, frame)
    return sizes


def zero_order_bytes(frames: NDArray[np.uint8]) -> float:
    """The mean of n H(p) / 8 over frames [N, C, H, W], each with its own share p of spikes; p itself is free."""
    share = frames.mean((1, 2, 3)).clip(1e-12, 1 - 1e-12)
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    return float(entropy.mean() * frames[0].size / 8)
