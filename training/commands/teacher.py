"""`neucodex-train teacher`: a teacher for a recipe's data, in one ONNX file."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path

import click
import onnx
import torch
from safetensors.torch import save_file
from torch import nn

from shared.command_line import existing_path, log_options, option
from shared.errors import ConfigError
from shared.logs import LogFormat, configure_logs
from training import checkpoint
from training.data import Samples, TrainingData, load_data
from training.device import Machine, machine
from training.recipe import StageRecipe, read_recipe
from training.teacher import efficientnet
from training.teacher.classifier import Classifier
from training.teacher.fine_tune import FineTuning, fine_tune
from training.transfer.foreign import read_state

BATCH = 50
WEIGHTS = "weights.safetensors"

log = logging.getLogger("neucodex.train")


@click.command()
@option("--recipe", type=existing_path, required=True, help="The recipe whose data it learns, a TOML file.")
@option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a field of the recipe, as in TOML.")
@option("--data", type=existing_path, metavar="DIR", help="The folder with the data sets.")
@option("--out", type=existing_path, required=True, metavar="FILE", help="What a stage's `teacher` names: .onnx.")
@option("--weights", type=existing_path, metavar="FILE", help="Export this state dict and train nothing.")
@option("--side", type=click.IntRange(min=32), default=128, help="Of the pictures it takes, a multiple of 32.")
@option("--epochs", type=click.IntRange(min=1), default=2, help="Over the training pictures.")
@option("--seed", type=click.IntRange(min=0), default=0, help="Of all that is drawn.")
@option("--measure", type=click.IntRange(min=1), metavar="N", help="Held-out pictures to measure it on; else all.")
@option("--runs", type=click.Path(path_type=Path), default=Path("runs"), help="Where runs are kept.")
@option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="What to compute on.")
@option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", help="Of the training.")
@option("--threads", type=click.IntRange(min=1), help="CPU threads; PyTorch's choice if not given.")
@option("--checkpoint-seconds", type=click.FloatRange(min=0.0), default=240.0, help="Between checkpoints.")
@log_options
def teacher(
    recipe: Path,
    changes: tuple[str, ...],
    data: Path | None,
    out: Path,
    weights: Path | None,
    side: int,
    epochs: int,
    seed: int,
    measure: int | None,
    runs: Path,
    device: str,
    precision: str,
    threads: int | None,
    checkpoint_seconds: float,
    log_format: LogFormat,
    log_level: str,
) -> None:
    """Fine-tune EfficientNet-Lite0 on a recipe's data: a teacher for its stages.

    Its ImageNet weights come with the extra `teacher`. A run that was killed goes on from its last checkpoint. FILE
    takes uint8 pictures of that side, contains the weights' licence, and is measured with onnxruntime.
    """
    configure_logs(log_format, log_level)
    if out.suffix != ".onnx":
        raise ConfigError(f"--out is {out}: name an .onnx file")
    if side % efficientnet.STRIDE:
        raise ConfigError(f"--side is {side}: a multiple of {efficientnet.STRIDE} is needed")
    chosen = read_recipe(recipe, changes)
    if chosen.network.input_shape[0] != 3 or chosen.network.input_kind != "static":
        raise ConfigError(
            f"recipe {recipe}: EfficientNet-Lite0 takes coloured pictures, network.input_shape = [3, ...]"
        )
    with machine(device, precision, threads, checkpoint_seconds) as where:
        samples = load_data(chosen, data)
        torch.manual_seed(seed)  # for the new classifier
        network = efficientnet.build(len(samples.class_names), side)
        if weights is None:
            _fine_tuned(network, samples, FineTuning(side, epochs, seed), runs, where)
        else:
            efficientnet.take(network, read_state(weights), str(weights), classifier=True)
        model = efficientnet.to_onnx(network.cpu(), side, efficientnet.licence(chosen.data.name))
        out.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, str(out))
        _tell(out, samples, measure, where)


def _fine_tuned(network: nn.Module, data: TrainingData, settings: FineTuning, runs: Path, where: Machine) -> None:
    """Train the teacher, or read the result of an earlier run with the same settings."""
    decisive = json.dumps({"data": data.digest, **asdict(settings)}, sort_keys=True)
    folder = runs / "teachers" / f"{efficientnet.NAME}-{hashlib.sha256(decisive.encode()).hexdigest()[:12]}"
    done = folder / WEIGHTS
    if done.exists():
        log.info("%s is done", folder.name)
        efficientnet.take(network, read_state(done), str(done), classifier=True)
        return
    efficientnet.take(network, efficientnet.imagenet_weights(), efficientnet.WEIGHTS_PACKAGE, classifier=False)
    fine_tune(network, data.train, settings, folder, where)
    folder.mkdir(parents=True, exist_ok=True)
    new = done.with_suffix(".new")
    save_file({name: value.contiguous().cpu() for name, value in network.state_dict().items()}, new)
    new.replace(done)
    (folder / checkpoint.FILE).unlink(missing_ok=True)


def _tell(path: Path, data: TrainingData, count: int | None, where: Machine) -> None:
    """Print the file's size and accuracy, measured as a stage uses it."""
    some = Samples(data.held_out.frames[:count], data.held_out.labels[:count])
    stage = StageRecipe("backbone", 1, 1.0, distill=1.0, teacher=str(path))
    asked = Classifier(stage, len(data.class_names), where.device)
    answers = torch.cat([asked.logits(some.frames[at : at + BATCH]) for at in range(0, len(some), BATCH)])
    right = (answers.argmax(1) == some.labels).float().mean()
    click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {right:.2%} of {len(some)} held-out pictures")
