"""What a finished run gives: the network as it will be deployed, its calibration, its evaluation, its bundle.

Calibration and evaluation are files that say what they are of: a calibration of which network, an evaluation of which
calibration. What has been trained, cut or calibrated anew since is refused, and never exported under older figures.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.bundle import Bundle, Manifest, write_bundle
from shared.errors import ConfigError
from shared.exit_policy import ExitPolicy
from shared.models.inference import inference_form
from shared.models.load import export_weights
from shared.models.split import SplitNetwork
from shared.network_spec import NetworkSpec
from training.calibrate import Calibration, calibrate, certainties, cloud_confidences, exit_timesteps
from training.data import TrainingData
from training.device import Machine
from training.evaluate import accuracy_by_timestep, mean_logits, spike_statistics
from training.provenance import commit
from training.recipe import Recipe
from training.stages import WEIGHTS, stage_folder
from training.weights import load_weights, weights_digest

CALIBRATION = "calibration.json"
EVALUATION = "evaluation.json"


def deployed_network(recipe: Recipe, data: TrainingData, runs: Path, machine: Machine) -> SplitNetwork:
    """The last stage's weights as the bundle will hold them, rounded to float16, in the spiking network.

    Raises:
        ConfigError: the last stage has not been run.
    """
    return _rounded(recipe.network, _last_weights(recipe, data, runs), machine)


def _rounded(spec: NetworkSpec, weights: Path, machine: Machine) -> SplitNetwork:
    """A network with the weights of a stage as a bundle holds them."""
    network = SplitNetwork(spec)
    load_weights(network, weights)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.half().float())
    return network.to(machine.device).eval().requires_grad_(False)


def _last_weights(recipe: Recipe, data: TrainingData, runs: Path) -> Path:
    return stage_folder(runs, recipe, data, len(recipe.stages) - 1) / WEIGHTS


def _deployed_digest(recipe: Recipe, data: TrainingData, runs: Path) -> str:
    """Of the network that a run ends in: its form and its weights."""
    form = json.dumps(recipe.network.to_dict(), sort_keys=True)
    return hashlib.sha256((form + weights_digest(_last_weights(recipe, data, runs))).encode()).hexdigest()


def _answering(network: SplitNetwork) -> SplitNetwork:
    """A network in the form in which edge and cloud run it, which is the faster one."""
    network.edge, network.cloud = inference_form(network.edge), inference_form(network.cloud)
    return network


def uncompressed_accuracy(recipe: Recipe, data: TrainingData, runs: Path, machine: Machine) -> list[float] | None:
    """By timestep, on the test samples: the spiking network with the backbone stages' weights, without a bottleneck,
    rounded as in its own bundle (`export --uncompressed`).

    It is measured once and kept beside the stage's weights. None if the recipe has no backbone stage.
    """
    kept = _kept_uncompressed(recipe, data, runs)
    if kept is None:
        return None
    if not kept.exists():
        network = _answering(_rounded(replace(recipe.network, bottleneck=None), kept.parent / WEIGHTS, machine))
        _keep_accuracies(kept, accuracy_by_timestep(network, data.test, data.normalisation, machine), len(data.test))
    measured: list[float] = json.loads(kept.read_text())["accuracy_by_timestep"]
    return measured


def _kept_uncompressed(recipe: Recipe, data: TrainingData, runs: Path) -> Path | None:
    """The file beside the last backbone stage's weights, for all recipes that begin with it; None without one."""
    backbones = [index for index, stage in enumerate(recipe.stages) if stage.kind == "backbone"]
    return stage_folder(runs, recipe, data, backbones[-1]) / EVALUATION if backbones else None


def _keep_accuracies(kept: Path, accuracies: list[float], samples: int) -> None:
    _write(kept, {"samples": samples, "accuracy_by_timestep": accuracies})


def run_calibration(recipe: Recipe, data: TrainingData, runs: Path, machine: Machine) -> Calibration:
    """Choose temperature and threshold on the held-out samples and write them to `calibration.json`."""
    network = _answering(deployed_network(recipe, data, runs, machine))
    logits = mean_logits(network, data.held_out, data.normalisation, machine).numpy()
    chosen = recipe.calibration
    labels = data.held_out.labels.numpy()
    result = calibrate(logits, labels, chosen.measure, chosen.budget, chosen.failure)
    _write(runs / recipe.name / CALIBRATION, {"network": _deployed_digest(recipe, data, runs), **asdict(result)})
    return result


def read_calibration(recipe: Recipe, data: TrainingData, runs: Path) -> Calibration:
    """What `run_calibration` wrote.

    Raises:
        ConfigError: it has not been run, or was for another network.
    """
    path = runs / recipe.name / CALIBRATION
    try:
        values = json.loads(path.read_text())
    except OSError:
        raise ConfigError(f"{path} is missing: run `neucodex-train calibrate` first") from None
    if values.pop("network", None) != _deployed_digest(recipe, data, runs):
        raise ConfigError(f"{path} is of another network than the recipe's: run `neucodex-train calibrate` again")
    return Calibration(**{**values, "policy": ExitPolicy(**values["policy"])})


def _read_evaluation(recipe: Recipe, runs: Path) -> dict[str, Any]:
    """What `run_evaluation` wrote; nothing if it has not been run."""
    path = runs / recipe.name / EVALUATION
    if not path.exists():
        return {}
    values: dict[str, Any] = json.loads(path.read_text())
    if values.pop("calibration", None) != _calibration_digest(recipe, runs):
        raise ConfigError(f"{path} is of another calibration than the run's: run `neucodex-train evaluate` again")
    return values


def _calibration_digest(recipe: Recipe, runs: Path) -> str:
    return hashlib.sha256((runs / recipe.name / CALIBRATION).read_bytes()).hexdigest()


def run_evaluation(recipe: Recipe, data: TrainingData, runs: Path, machine: Machine) -> dict[str, Any]:
    """Measure the deployed network on the test samples, which nothing was chosen on; write `evaluation.json`.

    Returns:
        Accuracy by timestep and with early exit, that of the uncompressed network by timestep, exits by timestep, spike
        rates by layer, operations, bits per frame.
    """
    calibration = read_calibration(recipe, data, runs)
    network = _answering(deployed_network(recipe, data, runs, machine))
    logits = mean_logits(network, data.test, data.normalisation, machine).numpy()
    labels = data.test.labels.numpy()
    probabilities = cloud_confidences(logits, calibration.temperature)
    certain = certainties(calibration.policy.measure, probabilities)
    steps = exit_timesteps(certain, calibration.policy.threshold)
    right = probabilities.argmax(-1) == labels
    timesteps = len(right)
    accuracies = [float(value) for value in right.mean(1)]
    # What was measured here is the uncompressed network itself, unless a later stage went on from it.
    if recipe.stages[-1].kind == "backbone" and (kept := _kept_uncompressed(recipe, data, runs)) is not None:
        _keep_accuracies(kept, accuracies, len(labels))
    at_exit = right[steps - 1, np.arange(len(labels))]
    result: dict[str, Any] = {
        "samples": len(labels),
        "simulated": data.simulated,
        "accuracy_by_timestep": accuracies,
        "uncompressed_accuracy_by_timestep": uncompressed_accuracy(recipe, data, runs, machine),
        "accuracy_with_exit": float(at_exit.mean()),
        "mean_timesteps": float(steps.mean()),
        "exits_by_timestep": [int((steps == t).sum()) for t in range(1, timesteps + 1)],
        "measure": calibration.policy.measure,
        "threshold": calibration.policy.threshold,
        "curve": _curve(certain, right),
        **spike_statistics(network, data.test, data.normalisation, machine),
    }
    _write(runs / recipe.name / EVALUATION, {"calibration": _calibration_digest(recipe, runs), **result})
    return result


def export_bundle(recipe: Recipe, data: TrainingData, runs: Path, out: Path, machine: Machine) -> Bundle:
    """Write the bundle of a calibrated run; what it was measured to do goes into its provenance.

    Raises:
        ConfigError: it is not calibrated, or calibration or evaluation are of what it was before.
    """
    calibration = read_calibration(recipe, data, runs)
    network = deployed_network(recipe, data, runs, machine)
    evaluation = _read_evaluation(recipe, runs)
    for long in ("layers", "operations"):
        evaluation.pop(long, None)
    manifest = Manifest(
        name=recipe.name,
        network=recipe.network,
        frame_shape=network.edge.out_shape,
        split_shape=network.edge.head.out_shape,
        class_names=data.class_names,
        normalisation=data.normalisation,
        temperature=calibration.temperature,
        exit_policy=calibration.policy,
        provenance={
            "data": asdict(recipe.data),
            "data_digest": data.digest,
            "simulated_data": data.simulated,
            "seed": recipe.seed,
            "stages": [asdict(stage) for stage in recipe.stages],
            "seconds": [_seconds(stage_folder(runs, recipe, data, index)) for index in range(len(recipe.stages))],
            "calibration": {name: value for name, value in asdict(calibration).items() if name != "policy"},
            "test": evaluation,
            "commit": commit(),
            "torch": torch.__version__.split("+", maxsplit=1)[0],
            "machine": f"{platform.machine()}, {machine.device.type}, {torch.get_num_threads()} threads",
        },
    )
    return write_bundle(out, manifest, export_weights(network.edge), export_weights(network.cloud))


def _curve(certain: np.ndarray, right: np.ndarray) -> list[tuple[float, float, float]]:
    """(threshold, mean timesteps, accuracy) over the whole range of thresholds."""
    samples = np.arange(right.shape[1])
    points = []
    for threshold in np.concatenate([np.linspace(0.0, 0.95, 39), np.linspace(0.96, 1.0, 21)]):
        steps = exit_timesteps(certain, float(threshold))
        points.append((float(threshold), float(steps.mean()), float(right[steps - 1, samples].mean())))
    return points


def _seconds(folder: Path) -> float:
    lines: Sequence[str] = (folder / "log.jsonl").read_text().splitlines()
    return float(json.loads(lines[-1])["seconds"])


def _write(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n")
