"""Runs a recipe's stages: what each trains, from which weights, and in which folder.

Stages of all recipes are in `stages/`, one folder each: `checkpoint.pt` while it runs,
`weights.safetensors` when it is done, `log.jsonl` with a line an epoch, and TensorBoard's scalars.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from shared.errors import ConfigError
from shared.licences import Licence, united
from shared.models.layers import MaxPool
from shared.models.neuron import Recurrence
from shared.models.split import SplitNetwork
from shared.network_spec import NetworkSpec
from training import checkpoint
from training.activations import ClipFloorShift, fused_recurrence, rectify, use
from training.batches import Batches
from training.data import Samples, TrainingData
from training.device import Machine
from training.objectives import StageObjective, set_trainable
from training.recipe import Neurons, Recipe, StageRecipe
from training.teacher.cache import teacher_answers, teacher_licence
from training.teacher.classifier import Classifier
from training.teacher.views import Answers
from training.trainer import Fit
from training.weights import licences_of, load_weights, save_weights, take_what_fits, weights_digest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger("neucodex.train")

WEIGHTS = "weights.safetensors"


def stage_folder(runs: Path, recipe: Recipe, data: TrainingData, index: int) -> Path:
    """The folder of a stage.

    Its name contains a digest of everything that determines the stage's result. So a changed recipe or data set never
    continues from old weights, and recipes with the same first stages share them. A backbone does not depend on the
    split, so all splits share it.

    Args:
        runs: the folder of all runs.
        recipe: of the run.
        data: its samples.
        index: of the stage, from 0.
    """
    stages = recipe.stages[: index + 1]
    network = _chosen(recipe.network)
    if all(stage.kind == "backbone" for stage in stages):
        network = {name: value for name, value in network.items() if name != "light"}
        network |= {"bottleneck": None, "split": None}
    decisive: dict[str, Any] = {
        "seed": recipe.seed,
        "data": _chosen(recipe.data) | {"digest": data.digest},
        "network": network,
        "stages": [_decisive(stage) for stage in stages],
    }
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]
    of = f"{recipe.data.name}-{recipe.network.backbone}-w{recipe.network.width}"
    return runs / "stages" / f"{of}-{index + 1}-{stages[-1].kind}-{stages[-1].neurons}-{digest}"


def _decisive(stage: StageRecipe) -> dict[str, Any]:
    """A stage's fields. Initial weights and teacher appear by their digests, without their folders."""
    values = _chosen(stage)
    values.pop("teacher_licence", None)
    return values | {name: weights_digest(Path(values[name])) for name in ("init", "teacher") if name in values}


def _chosen(settings: DataclassInstance) -> dict[str, Any]:
    """The fields that differ from their defaults, nested ones too. So a new field of recipes does not move the folders
    of older stages.
    """
    values: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if value != default:
            values[field.name] = _chosen(value) if is_dataclass(value) and not isinstance(value, type) else value
    return values


def build_network(recipe: Recipe, stage: StageRecipe, machine: Machine) -> SplitNetwork:
    """The network that a stage trains: the backbone alone or with its bottleneck, its neurons as the stage asks."""
    spec = recipe.network.uncompressed if stage.kind == "backbone" else recipe.network
    if stage.neurons != "spiking":
        spec = replace(spec, timesteps=1, input_kind="static")
    network = SplitNetwork(spec)
    # The faster layout, but oneDNN's backward pass (PyTorch 2.13, AVX2) writes out of bounds for other channel counts.
    if spec.width % 8 == 0:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    recurrences: dict[Neurons, Recurrence] = {
        "float": rectify,
        "quantised": ClipFloorShift(*stage.levels),
        "spiking": fused_recurrence,
    }
    use(network, recurrences[stage.neurons])
    if stage.other_levels is not None:
        use(network, ClipFloorShift(*stage.other_levels))
        use(network.edge.encoder, ClipFloorShift(*stage.levels))
    return network.to(machine.device)


def train_stage(recipe: Recipe, index: int, data: TrainingData, runs: Path, machine: Machine) -> Path:
    """Train one stage, from its checkpoint if there is one; a stage that is done is left as it is.

    Args:
        recipe: of the run.
        index: of the stage, from 0.
        data: its samples.
        runs: the folder of all runs.
        machine: device, precision and ranks.

    Returns:
        The file with the stage's weights.

    Raises:
        ConfigError: the stage before it has not been run, or a stage of the recipe takes pictures too small for the
            network's poolings.
    """
    folder = stage_folder(runs, recipe, data, index)
    done = folder / WEIGHTS
    if done.exists():
        log.info("stage %s is done", folder.name)
        return done
    _check_resolutions(recipe)
    stage = recipe.stages[index]
    log.info("stage %d of %d (%s), kept in %s", index + 1, len(recipe.stages), stage.kind, folder)
    licences = _licences(recipe, index, data, runs)
    external = _external_teacher(stage, data, runs, machine)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe, stage, machine)
    if stage.init is not None:
        log.info("begins with %s", take_what_fits(network, Path(stage.init)))
    elif index > 0:
        load_weights(network, stage_folder(runs, recipe, data, index - 1) / WEIGHTS)
    set_trainable(network, stage)
    objective = StageObjective(network, stage, _teacher(recipe, data, index, runs, machine))
    on_device = Samples(data.train.frames.to(machine.device), data.train.labels.to(machine.device))
    kind = network.spec.input_kind
    batches = Batches(
        on_device,
        data.normalisation,
        stage,
        recipe.seed,
        index,
        kind,
        machine.rank,
        machine.world,
        external,
    )
    kept = Fit(objective, batches, data, folder, machine, len(recipe.stages)).run()
    if machine.leads:
        save_weights(kept, done, licences)
        (folder / checkpoint.FILE).unlink(missing_ok=True)  # a stage of no epochs left none
    if machine.world > 1:
        torch.distributed.barrier()
    return done


def _external_teacher(
    stage: StageRecipe, data: TrainingData, runs: Path, machine: Machine
) -> Answers | Classifier | None:
    """The stored answers of the stage's teacher, or the teacher itself where it answers for every batch."""
    if stage.teacher is None:
        return None
    if data.kind != "static":
        raise ConfigError(f"teacher {stage.teacher} is for pictures, and the samples are clips of events")
    if stage.teacher_views:
        return teacher_answers(stage, data, runs, machine)
    return Classifier(stage, len(data.class_names), machine.device)


def _licences(recipe: Recipe, index: int, data: TrainingData, runs: Path) -> tuple[Licence, ...]:
    """The licences of everything that a stage learns from: its initial weights, the weights of the stage before it,
    which may teach it, and its external teacher.
    """
    init = recipe.stages[index].init
    origins = [] if init is None else [Path(init)]
    if index > 0 and (before := stage_folder(runs, recipe, data, index - 1) / WEIGHTS).exists():
        origins.append(before)
    return united(*(licences_of(origin) for origin in origins), teacher_licence(recipe.stages[index]))


def _check_resolutions(recipe: Recipe) -> None:
    """Check that no stage's pictures are too small for the network's poolings."""
    spec = recipe.network
    poolings = _poolings(spec)
    for index, stage in enumerate(recipe.stages):
        for _, side in stage.resolutions:
            if _poolings(replace(spec, input_shape=(spec.input_shape[0], side, side))) < poolings:
                raise ConfigError(
                    f"stages.{index}.resolutions: pictures of {side} px are too small for the poolings of this "
                    f"{spec.backbone}, which was made for {spec.input_shape[1]} px"
                )


def _poolings(spec: NetworkSpec) -> int:
    with torch.device("meta"):  # for its shape alone
        network = SplitNetwork(spec.uncompressed)
    return sum(isinstance(module, MaxPool) for module in network.modules())


def _teacher(recipe: Recipe, data: TrainingData, index: int, runs: Path, machine: Machine) -> SplitNetwork | None:
    """The uncompressed network as its last stage left it: for a finetune stage that imitates it, and for a bottleneck
    stage whose light head has no features of the backbone's own."""
    stage = recipe.stages[index]
    backbones = [i for i, other in enumerate(recipe.stages) if other.kind == "backbone"]
    imitates = stage.kind == "finetune" and stage.distill > 0.0 and stage.teacher is None
    if not backbones or not (imitates or (stage.kind == "bottleneck" and recipe.network.light is not None)):
        return None
    # A quantised one, if there is. Of pictures: one pass instead of T, and at least as accurate. Of events it has only
    # seen the mean of a clip, and a spiking stage asks it frame by frame: its doubts teach early answers no worse than
    # its answers to the mean, or than the spiking network (docs/decisions/0006-muon-and-mixed-levels.md).
    quantised = [i for i in backbones if recipe.stages[i].neurons == "quantised"]
    last = (quantised or backbones)[-1]
    best = replace(recipe.stages[last], levels=(max(recipe.stages[last].levels),))
    teacher = build_network(recipe, best, machine)
    load_weights(teacher, stage_folder(runs, recipe, data, last) / WEIGHTS)
    teacher.eval().requires_grad_(False)
    return teacher
