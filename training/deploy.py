"""The results of a finished run: the deployed network, its calibration, its evaluation and its bundle.

The file of a calibration names its network, that of an evaluation its calibration. If one of these has changed since,
the file is refused, so that old figures are never exported with a new network.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.bundle import Bundle
from shared.bundle_writer import as_stored, write_bundle
from shared.errors import ConfigError
from shared.execution import Execution, executions_of
from shared.exit_policy import ExitPolicy
from shared.manifest import Manifest
from shared.models.load import export_weights
from shared.models.split import SplitNetwork, split_shape
from shared.network_spec import NetworkSpec
from training.calibrate import Calibration
from training.data import TrainingData
from training.device import Machine
from training.execute import execute_network
from training.measure import (
    Readings,
    better,
    calibrate_execution,
    evaluate_execution,
    execution_spec,
    read_uncompressed,
)
from training.provenance import commit
from training.rate_graphs import RateGraphs, rate_graphs, write_rate_graphs
from training.recipe import Recipe, StageRecipe
from training.stages import WEIGHTS, stage_folder
from training.weights import licences_of, load_weights, weights_digest

CALIBRATION = "calibration.json"
EVALUATION = "evaluation.json"


def deployed_network(recipe: Recipe, data: TrainingData, runs: Path, machine: Machine) -> SplitNetwork:
    """The spiking network with the last stage's weights, rounded to float16 as in the bundle.

    Args:
        recipe: of the run.
        data: its samples.
        runs: the folder of all runs.
        machine: device, precision and ranks.

    Raises:
        ConfigError: the last stage has not been run.
    """
    return _rounded(recipe.network, _last_weights(recipe, data, runs), machine)


def _rounded(spec: NetworkSpec, weights: Path, machine: Machine) -> SplitNetwork:
    """A network with the weights of a stage, rounded as in a bundle."""
    network = SplitNetwork(spec)
    load_weights(network, weights)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.from_numpy(as_stored(value.cpu().numpy()).astype(np.float32)))
    return network.to(machine.device).eval().requires_grad_(False)


def _last_weights(recipe: Recipe, data: TrainingData, runs: Path) -> Path:
    return stage_folder(runs, recipe, data, len(recipe.stages) - 1) / WEIGHTS


def _deployed_digest(recipe: Recipe, data: TrainingData, runs: Path) -> str:
    """Digest of the final network of a run: its specification and its weights."""
    form = json.dumps(recipe.network.to_dict(), sort_keys=True)
    return hashlib.sha256((form + weights_digest(_last_weights(recipe, data, runs))).encode()).hexdigest()


def uncompressed_accuracy(recipe: Recipe, data: TrainingData, runs: Path, machine: Machine) -> Readings | None:
    """Measure the network after the backbone stages, without a bottleneck, on the test samples. Weights are rounded as
    in its own bundle (`export --uncompressed`).

    It is measured once and kept beside the stage's weights. None if the recipe has no backbone stage.

    Args:
        recipe: of the run.
        data: its samples.
        runs: the folder of all runs.
        machine: device, precision and ranks.
    """
    backbones = [index for index, stage in enumerate(recipe.stages) if stage.kind == "backbone"]
    if not backbones:
        return None
    folder = stage_folder(runs, recipe, data, backbones[-1])
    kept = folder / EVALUATION
    if not kept.exists():
        network = _rounded(recipe.network.uncompressed, folder / WEIGHTS, machine)
        _write(kept, {"samples": len(data.test), "accuracy_by_timestep": read_uncompressed(network, data, machine)})
    measured: Readings = json.loads(kept.read_text())["accuracy_by_timestep"]
    return measured


def run_calibration(recipe: Recipe, data: TrainingData, runs: Path, machine: Machine) -> dict[Execution, Calibration]:
    """Calibrate each execution on the held-out samples and write the results to `calibration.json`.

    Args:
        recipe: of the run.
        data: its samples.
        runs: the folder of all runs.
        machine: device, precision and ranks.
    """
    network = deployed_network(recipe, data, runs, machine)
    graphs = None
    if "rate" in executions_of(recipe.network):
        graphs = rate_graphs(network, data.held_out, data.normalisation)
        graphs.save(runs / recipe.name)
    results = {
        execution: calibrate_execution(execution, executed, data, recipe.calibration, machine)
        for execution, executed in execute_network(network, graphs).items()
    }
    described = {execution: asdict(result) for execution, result in results.items()}
    _write(
        runs / recipe.name / CALIBRATION,
        {"network": _deployed_digest(recipe, data, runs), "executions": described},
    )
    return results


def read_calibration(recipe: Recipe, data: TrainingData, runs: Path) -> dict[Execution, Calibration]:
    """Read the file that `run_calibration` wrote.

    Raises:
        ConfigError: it has not been run, or was for another network.
    """
    path = runs / recipe.name / CALIBRATION
    try:
        values = json.loads(path.read_text())
    except OSError:
        raise ConfigError(f"{path} is missing: run `neucodex-train calibrate` first") from None
    if values.get("network") != _deployed_digest(recipe, data, runs):
        raise ConfigError(f"{path} is of another network than the recipe's: run `neucodex-train calibrate` again")
    return {
        execution: Calibration(**{**described, "policy": ExitPolicy(**described["policy"])})
        for execution, described in values["executions"].items()
    }


def run_evaluation(recipe: Recipe, data: TrainingData, runs: Path, machine: Machine) -> dict[Execution, dict[str, Any]]:
    """Measure each execution of the deployed network on the test samples; write `evaluation.json`.

    Args:
        recipe: of the run.
        data: its samples.
        runs: the folder of all runs.
        machine: device, precision and ranks.

    Returns:
        For each what `evaluate_execution` measured, with the accuracy of the uncompressed network by timestep.
    """
    calibrations = read_calibration(recipe, data, runs)
    network = deployed_network(recipe, data, runs, machine)
    uncompressed = uncompressed_accuracy(recipe, data, runs, machine) or {}
    results = {
        execution: {
            "uncompressed_accuracy_by_timestep": uncompressed.get(execution),
            **evaluate_execution(execution, executed, data, calibrations[execution], machine),
        }
        for execution, executed in execute_network(network, _kept_graphs(recipe, runs)).items()
    }
    _write(
        runs / recipe.name / EVALUATION,
        {"calibration": _calibration_digest(recipe, runs), "executions": results},
    )
    return results


def _kept_graphs(recipe: Recipe, runs: Path) -> RateGraphs | None:
    """The graphs that were calibrated; None for a network without the `rate` execution."""
    return RateGraphs.read(runs / recipe.name) if "rate" in executions_of(recipe.network) else None


def _read_evaluation(recipe: Recipe, runs: Path) -> dict[Execution, dict[str, Any]]:
    """Read the file that `run_evaluation` wrote; empty if it has not been run."""
    path = runs / recipe.name / EVALUATION
    if not path.exists():
        return {}
    values: dict[str, Any] = json.loads(path.read_text())
    if values.get("calibration") != _calibration_digest(recipe, runs):
        raise ConfigError(f"{path} is of another calibration than the run's: run `neucodex-train evaluate` again")
    results: dict[Execution, dict[str, Any]] = values["executions"]
    return results


def _calibration_digest(recipe: Recipe, runs: Path) -> str:
    return hashlib.sha256((runs / recipe.name / CALIBRATION).read_bytes()).hexdigest()


def export_bundle(recipe: Recipe, data: TrainingData, runs: Path, out: Path, machine: Machine) -> Bundle:
    """Write the bundle of a calibrated run, with its measurements in the manifest.

    Args:
        recipe: of the run.
        data: its samples.
        runs: the folder of all runs.
        out: the bundle's folder.
        machine: device, precision and ranks.

    Raises:
        ConfigError: it is not calibrated, or its calibration or evaluation is of an older state.
    """
    calibrations = read_calibration(recipe, data, runs)
    network = deployed_network(recipe, data, runs, machine)
    evaluations = _read_evaluation(recipe, runs)
    manifest = Manifest(
        name=recipe.name,
        network=recipe.network,
        frame_shape=network.edge.out_shape,
        split_shape=split_shape(recipe.network),
        class_names=data.class_names,
        normalisation=data.normalisation,
        fit=recipe.data.fit,
        executions={
            execution: execution_spec(calibration, evaluations.get(execution, {}))
            for execution, calibration in calibrations.items()
        },
        default_execution=better(calibrations),
        provenance={
            "data": asdict(recipe.data),
            "data_digest": data.digest,
            "simulated_data": data.simulated,
            "seed": recipe.seed,
            "stages": [_described(stage) for stage in recipe.stages],
            "seconds": [_seconds(stage_folder(runs, recipe, data, index)) for index in range(len(recipe.stages))],
            "commit": commit(),
            "torch": torch.__version__.split("+", maxsplit=1)[0],
            "machine": f"{platform.machine()}, {machine.device.type}, {torch.get_num_threads()} threads",
        },
    )
    licences = licences_of(_last_weights(recipe, data, runs))
    bundle = write_bundle(out, manifest, export_weights(network.edge), export_weights(network.cloud), licences)
    graphs = _kept_graphs(recipe, runs)
    return bundle if graphs is None else write_rate_graphs(bundle, graphs)


def _described(stage: StageRecipe) -> dict[str, Any]:
    """The manifest's entry for a stage: external files appear by name and digest, without their folders."""
    values = {name: value for name, value in asdict(stage).items() if not name.startswith("teacher")}
    if stage.teacher is not None:
        path = Path(stage.teacher)
        values |= {"teacher": path.name, "teacher_sha256": weights_digest(path), "teacher_views": stage.teacher_views}
    return values


def _seconds(folder: Path) -> float:
    """Seconds that a stage took; a stage without epochs has no log."""
    log = folder / "log.jsonl"
    lines: Sequence[str] = log.read_text().splitlines() if log.exists() else ()
    return float(json.loads(lines[-1])["seconds"]) if lines else 0.0


def _write(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n")
