"""`neucodex-train local-exit`: give a bundle the small classifier with which its edge answers without a cloud."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shared.bundle import Bundle
from shared.bundle_writer import write_local_exit
from shared.command_line import execution_option, existing_path, option
from shared.execution import Execution
from training import report
from training.calibrate import certainties, reaches
from training.collect_spikes import SpikeTrain, bundle_spikes, cloud_answers
from training.data import Samples, TrainingData, bundle_data, evenly_spaced
from training.local_exit import LocalCalibration, LocalExitNetwork, calibrate, confidences, fit, logits_by_timestep
from training.measure import known_calibration
from training.progress import Progress
from training.provenance import commit

SAMPLES = 10_000
"""Training samples of the exit. More make it slower, not better."""

MEASURED = 2_000
"""Held-out samples to calibrate on, and test samples to measure on: the cloud's half is run for them."""


@click.command("local-exit")
@option("--bundle", type=existing_path, required=True, metavar="DIR", help="Gets the exit; it replaces the one it has.")
@option("--dataset", metavar="NAME", help="What the bundle was trained on; it says so itself.")
@option("--data", type=existing_path, metavar="DIR", help="Where the data set is, if it is not in the package.")
@option("--limit", type=click.IntRange(min=1), default=SAMPLES, help="Training samples.")
@option(
    "--budget", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="As calibrate's; else the bundle's."
)
@execution_option
@option("--threads", type=click.IntRange(min=1), help="CPU threads; PyTorch's choice if not given.")
def local_exit(
    bundle: Path,
    dataset: str | None,
    data: Path | None,
    limit: int,
    budget: float | None,
    execution: Execution | None,
    threads: int | None,
) -> None:
    """Train and calibrate the edge's own exit, for an edge without a cloud and for answers before a byte is sent.

    It becomes part of the bundle and of its fingerprint: copy it to both machines again.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    opened = Bundle.open(bundle, execution)
    known = bundle_data(opened, data, dataset)
    written = add_local_exit(
        opened, known, bundle_spikes(opened, evenly_spaced(known.train.frames.numpy(), limit)), budget
    )
    report.tell_bundle(written)


def add_local_exit(bundle: Bundle, data: TrainingData, spikes: SpikeTrain, budget: float | None = None) -> Bundle:
    """Train a local exit, calibrate it on the held-out part, measure it on the test part, and write it.

    Args:
        bundle: gets the exit.
        data: the data set that the bundle was trained with.
        spikes: the bundle's, of training samples `spread` to their number, [N, T, C, H, W].
        budget: as calibrate's; else the bundle's.
    """
    begun = time.monotonic()
    chosen = known_calibration(bundle.settings, budget)
    network = _fit(spikes, evenly_spaced(data.train.labels.numpy(), len(spikes)), bundle.manifest.network.classes)
    frames, labels = _spikes(bundle, data.held_out)
    cloud_right = cloud_answers(bundle, frames) == labels
    calibration = calibrate(
        logits_by_timestep(network, frames), cloud_right, labels, chosen.measure, chosen.budget, chosen.failure
    )
    test = _measure(bundle, network, calibration, data.test)
    _show(calibration, test)
    measured = {
        "operations": network.operations,
        "training_samples": len(spikes),
        "calibration": calibration.described(),
        "test": test,
        "seconds": round(time.monotonic() - begun, 1),
        "commit": commit(),
    }
    return write_local_exit(bundle, calibration.spec(network), network.weights(), measured)


def _spikes(bundle: Bundle, samples: Samples) -> tuple[SpikeTrain, NDArray[np.int64]]:
    frames = bundle_spikes(bundle, evenly_spaced(samples.frames.numpy(), MEASURED))
    return frames, evenly_spaced(samples.labels.numpy(), MEASURED)


def _measure(
    bundle: Bundle, network: LocalExitNetwork, calibration: LocalCalibration, samples: Samples
) -> dict[str, Any]:
    """The exit's results on test samples, and the cloud's at full T."""
    frames, labels = _spikes(bundle, samples)
    probabilities = confidences(logits_by_timestep(network, frames), calibration.temperature)
    right = probabilities.argmax(-1) == labels
    sure = reaches(certainties(calibration.policy.measure, probabilities[0]), calibration.policy.threshold)
    cloud_right = cloud_answers(bundle, frames) == labels
    return {
        "samples": len(labels),
        "accuracy_by_timestep": [float(value) for value in right.mean(1)],
        "cloud_accuracy_full_t": float(cloud_right.mean()),
        "answered_before_a_byte": float(sure.mean()),
        "lost_by_that": float((sure & cloud_right & ~right[0]).mean()),
    }


def _fit(frames: SpikeTrain, labels: NDArray[np.int64], classes: int) -> LocalExitNetwork:
    with Progress("training the local exit") as progress:
        return fit(frames, labels, classes, progress=lambda done, total: progress.at(done, total=total))


def _show(calibration: LocalCalibration, test: dict[str, Any]) -> None:
    table = Table(title=f"Local exit, {test['samples']} test samples", title_justify="left", show_header=False)
    accuracies = " / ".join(f"{value:.2%}" for value in test["accuracy_by_timestep"])
    table.add_row("accuracy at t = 1, 2, ...", accuracies)
    table.add_row("accuracy of the cloud at full T", f"{test['cloud_accuracy_full_t']:.2%}")
    table.add_row("sure when", str(calibration.policy))
    table.add_row("sure after the first timestep", f"{test['answered_before_a_byte']:.2%}")
    table.add_row("  turned from right to wrong by it", f"{test['lost_by_that']:.2%}")
    table.add_row("promise", calibration.promise or report.no_promise(calibration.budget, calibration.failure))
    Console().print(table)
