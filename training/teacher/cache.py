"""A teacher's answers, computed once and kept on disk.

They take 2 bytes (float16) for each class, picture and view: 3.6 MB for 45,000 pictures of CIFAR-10 in four views. A
row that is not there yet is NaN, so a run that was killed goes on where it was, and the ranks of a torchrun share the
work. The pictures themselves are not kept: a view is cheap to show.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.licences import Licence
from training.data import TrainingData
from training.device import Machine
from training.progress import Progress
from training.recipe import StageRecipe
from training.teacher.classifier import Classifier
from training.teacher.views import Answers, Views
from training.weights import weights_digest

BATCH = 64

DOUBTFUL = 0.5
"""A teacher that gets fewer of its training pictures right probably receives wrong input."""

log = logging.getLogger("neucodex.train")

Table = np.memmap[Any, np.dtype[np.float16]]


def teacher_answers(stage: StageRecipe, data: TrainingData, runs: Path, machine: Machine) -> Answers:
    """The answers of a stage's teacher to the fixed views of all training pictures. They are computed if they are not
    stored.

    Args:
        stage: has a teacher.
        data: pictures, not events; the caller has checked that.
        runs: the folder of the runs; the answers are in its `teachers/`.
        machine: where the teacher computes.

    Raises:
        ConfigError: the teacher does not fit the pictures, or a file of answers is damaged.
    """
    assert stage.teacher is not None
    views = Views(stage.augment, len(data.train), stage.teacher_views)
    path = runs / "teachers" / f"{Path(stage.teacher).stem}-{_key(stage, data)}.npy"
    if not path.exists():
        _ask_all(Classifier(stage, len(data.class_names), machine.device), views, data, path, machine)
    try:
        logits = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); delete it to ask the teacher again") from None
    _tell_accuracy(stage.teacher, logits, data.train.labels.numpy())
    return Answers(views, logits)


def teacher_licence(stage: StageRecipe) -> tuple[Licence, ...]:
    """The licence of a stage's teacher: `teacher_licence`, or an ONNX file's own metadata `source` and `licence`.

    Raises:
        ConfigError: the text or the teacher cannot be read.
    """
    if stage.teacher is None:
        return ()
    path = Path(stage.teacher)
    if stage.teacher_licence is not None:
        return (Licence.read(Path(stage.teacher_licence), path.name, "teacher"),)
    if path.suffix != ".onnx":
        return ()
    try:
        said = {entry.key: entry.value for entry in onnx.load(str(path), load_external_data=False).metadata_props}
    except Exception as error:  # a different type for each kind of damage
        raise ConfigError(f"teacher {path} is no ONNX file ({error})") from None
    return (Licence(said["source"], said["licence"], "teacher"),) if {"source", "licence"} <= set(said) else ()


def _key(stage: StageRecipe, data: TrainingData) -> str:
    """A digest of everything that determines the answers."""
    decisive = {
        "teacher": weights_digest(Path(stage.teacher or "")),
        "input": [stage.teacher_side, stage.teacher_mean, stage.teacher_std],
        "data": data.digest,
        "views": stage.teacher_views,
        "augment": [stage.augment.shift, stage.augment.mirror, stage.augment.alternate],
    }
    if stage.augment.zoom > 1.0:
        decisive["zoom"] = stage.augment.zoom
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]


def _ask_all(teacher: Classifier, views: Views, data: TrainingData, path: Path, machine: Machine) -> None:
    partial = path.with_suffix(".partial.npy")
    if machine.leads and not partial.exists():
        _begin(partial, (views.count, len(data.train), len(data.class_names)))
    _wait_for_all(machine)
    try:
        table: Table = open_memmap(partial, mode="r+")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{partial} cannot be read ({error}); delete it to ask the teacher again") from None
    own = np.arange(machine.rank, len(data.train), machine.world)
    with Progress(f"asking {path.stem}", views.count * len(own), quiet=not machine.leads) as progress:
        for view in range(views.count):
            missing = own[np.isnan(table[view, own, -1])]
            for start in range(0, len(missing), BATCH):
                chosen = torch.from_numpy(missing[start : start + BATCH])
                table[view, chosen.numpy()] = teacher.logits(views.show(data.train.frames[chosen], view, chosen))
                progress.at(view * len(own) + len(own) - len(missing) + start + len(chosen))
    table.flush()
    _wait_for_all(machine)
    if machine.leads:
        partial.replace(path)
    _wait_for_all(machine)


def _begin(partial: Path, shape: tuple[int, ...]) -> None:
    """Create a file of NaN. It has another name until it is complete."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    new = partial.with_suffix(".new")
    table: Table = open_memmap(new, mode="w+", dtype=np.float16, shape=shape)
    table[:] = np.nan
    table.flush()
    new.replace(partial)


def _wait_for_all(machine: Machine) -> None:
    if machine.world > 1:
        torch.distributed.barrier()


def _tell_accuracy(name: str, logits: NDArray[np.float16], labels: NDArray[np.int64]) -> None:
    right = float(np.mean([(of_view.argmax(-1) == labels).mean() for of_view in logits]))
    log.info("teacher %s knows %.2f %% of the training pictures' views", name, 100 * right)
    if right < DOUBTFUL:
        log.warning("where that is less than it can do: teacher_mean, teacher_std or the order of its classes is wrong")
