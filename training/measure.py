"""Measures one execution of a network: it calibrates on held-out samples and evaluates on test samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.execution import Execution
from shared.manifest import ExecutionSpec
from shared.models.split import SplitNetwork
from training.calibrate import (
    Calibration,
    Float64Array,
    calibrate,
    certainties,
    cloud_confidences,
    exit_timesteps,
    fit_leak,
)
from training.data import TrainingData
from training.device import Machine
from training.evaluate import accuracy_by_timestep, spike_statistics, step_logits
from training.executed import LEVELS, Executed, Spiking, in_one_pass, read_answers
from training.recipe import CalibrationRecipe

Readings = Mapping[Execution, list[float]]
"""Accuracy of an uncompressed network on test samples: `spiking` after each timestep, `rate` once."""


def calibrate_execution(
    execution: Execution, executed: Executed, data: TrainingData, chosen: CalibrationRecipe, machine: Machine
) -> Calibration:
    """Choose the readout's leak (of `spiking`), the temperature and the exit threshold on the held-out samples.

    Args:
        execution: its name.
        executed: the network in it.
        data: has the held-out samples.
        chosen: budget, failure and measure.
        machine: device and precision.
    """
    logits = step_logits(executed, data.held_out, data.normalisation, data.kind, machine).double()
    labels = data.held_out.labels.numpy()
    leak = fit_leak(logits, labels) if execution == "spiking" else 1.0
    answers: Float64Array = read_answers(execution, logits, leak).numpy()
    result = calibrate(answers, labels, chosen.measure, chosen.budget, chosen.failure)
    return replace(result, readout_leak=leak)


def evaluate_execution(
    execution: Execution, executed: Executed, data: TrainingData, calibration: Calibration, machine: Machine
) -> dict[str, Any]:
    """Measure an execution on the test samples, on which nothing was chosen.

    Args:
        execution: its name.
        executed: the network in it.
        data: has the test samples.
        calibration: leak, temperature and threshold.
        machine: device and precision.

    Returns:
        Accuracy by timestep and with early exit, exits by timestep, the curve of accuracy against mean timesteps, and
        what `spike_statistics` counts.
    """
    logits = step_logits(executed, data.test, data.normalisation, data.kind, machine).double()
    labels = data.test.labels.numpy()
    answers: Float64Array = read_answers(execution, logits, calibration.readout_leak).numpy()
    probabilities = cloud_confidences(answers, calibration.temperature)
    certain = certainties(calibration.policy.measure, probabilities)
    steps = exit_timesteps(certain, calibration.policy.threshold)
    right = probabilities.argmax(-1) == labels
    return {
        "samples": len(labels),
        "simulated": data.simulated,
        "accuracy_by_timestep": [float(value) for value in right.mean(1)],
        "accuracy_with_exit": float(right[steps - 1, np.arange(len(labels))].mean()),
        "mean_timesteps": float(steps.mean()),
        "exits_by_timestep": [int((steps == t).sum()) for t in range(1, len(right) + 1)],
        "measure": calibration.policy.measure,
        "threshold": calibration.policy.threshold,
        "curve": _curve(certain, right),
        **spike_statistics(executed, data.test, data.normalisation, machine),
    }


def read_uncompressed(network: SplitNetwork, data: TrainingData, machine: Machine) -> Readings:
    """The accuracy of a network without a bottleneck, in both executions of the compressed one.

    spiking: as it steps, its readout's leak fitted on the held-out samples;  rate: one pass with mean spike counts at
    the levels of a new bundle, of a clip of events with the mean of its frames.
    """
    spiking = Spiking(network.edge, network.cloud)
    logits = step_logits(spiking, data.held_out, data.normalisation, data.kind, machine).double()
    leak = fit_leak(logits, data.held_out.labels.numpy())
    steps = step_logits(spiking, data.test, data.normalisation, data.kind, machine)
    labels = data.test.labels
    right = (read_answers("spiking", steps, leak).argmax(-1) == labels).float().mean(1)
    readings: dict[Execution, list[float]] = {"spiking": [float(value) for value in right]}
    if network.spec.neuron.counts_by_rounding:
        once = accuracy_by_timestep(in_one_pass(network, LEVELS), data.test, data.normalisation, machine)
        readings["rate"] = once
    return readings


def better(calibrations: Mapping[Execution, Calibration]) -> Execution:
    """The execution with the better accuracy on held-out samples, with early exit; if they are equal, the one with the
    earlier exit.
    """
    return max(calibrations, key=lambda name: (calibrations[name].accuracy, -calibrations[name].mean_timesteps))


def known_calibration(settings: ExecutionSpec, budget: float | None) -> CalibrationRecipe:
    """The settings of an execution's calibration, with another budget if one is given."""
    known = settings.measured.get("calibration", {})
    default = CalibrationRecipe()
    return CalibrationRecipe(
        budget=budget or float(known.get("budget", default.budget)),
        failure=float(known.get("failure", default.failure)),
        measure=settings.exit_policy.measure,
    )


def execution_spec(calibration: Calibration, evaluation: Mapping[str, Any]) -> ExecutionSpec:
    """The measurements for a manifest. Long tables stay in the run's folder."""
    measured: dict[str, Any] = {
        "calibration": {name: value for name, value in asdict(calibration).items() if name != "policy"}
    }
    if evaluation:
        measured["test"] = {name: value for name, value in evaluation.items() if name not in ("layers", "operations")}
    return ExecutionSpec(
        temperature=calibration.temperature,
        exit_policy=calibration.policy,
        readout_leak=calibration.readout_leak,
        measured=measured,
    )


def _curve(certain: Float64Array, right: NDArray[np.bool_]) -> list[tuple[float, float, float]]:
    """(threshold, mean timesteps, accuracy) over the whole range of thresholds."""
    samples = np.arange(right.shape[1])
    points = []
    for threshold in np.concatenate([np.linspace(0.0, 0.95, 39), np.linspace(0.96, 1.0, 21)]):
        steps = exit_timesteps(certain, float(threshold))
        points.append((float(threshold), float(steps.mean()), float(right[steps - 1, samples].mean())))
    return points
