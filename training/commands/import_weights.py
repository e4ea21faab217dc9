"""`neucodex-train import`: start a recipe's first stage from the weights of an ordinary network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import torch
from torch import Tensor

from shared.command_line import existing_path, log_options, option
from shared.errors import ConfigError
from shared.licences import Licence
from shared.logs import LogFormat, configure_logs
from shared.models.neuron import Recurrence
from shared.models.split import SplitNetwork
from training import imagenet
from training.activations import ClipFloorShift, rectify, use
from training.data import Samples, TrainingData, load_data, to_input
from training.device import Machine, machine
from training.evaluate import accuracy_by_timestep
from training.recipe import Recipe, read_recipe
from training.transfer.backbone import Convention, take_backbone
from training.transfer.balance import balance
from training.transfer.foreign import read_state
from training.transfer.readout import features, fit_readout
from training.weights import save_weights

BATCH = 64
WATCHED_SAMPLES = 500
LEVELS = (8, 4, 1)


if TYPE_CHECKING:
    _Colours = click.ParamType[tuple[float, ...]]
else:
    _Colours = click.ParamType  # generic only in newer releases


class Colours(_Colours):
    """Three numbers with commas between them, in the order red, green, blue."""

    name = "R,G,B"

    def convert(
        self, value: str | tuple[float, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != 3:
            self.fail(f"{value!r} is not three numbers with commas between them, such as 0.485,0.456,0.406", param, ctx)
        return numbers


@click.command(name="import")
@click.argument("file", type=existing_path)
@option("--recipe", type=existing_path, required=True, help="The recipe whose network gets the weights, a TOML file.")
@option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a field of the recipe, as in TOML.")
@option("--data", type=existing_path, metavar="DIR", help="The folder with the data sets.")
@option("--out", type=existing_path, required=True, metavar="FILE", help="What a stage's `init` names: .safetensors.")
@option("--channels", type=click.Choice(["rgb", "bgr"]), default="rgb", help="The order that the network was fed.")
@option("--input-scale", type=float, default=1.0, help="By what it multiplied pixels in 0 to 1.")
@option("--input-mean", type=Colours(), default=imagenet.MEAN, help="What it then subtracted, red first.")
@option("--input-std", type=Colours(), default=imagenet.STD, help="By what it then divided, red first.")
@option("--percentile", type=click.FloatRange(50.0, 100.0), default=98.0, help="Of activations, that fires always.")
@option("--balance", "balanced", type=click.IntRange(min=0), default=512, help="Samples to balance by; 0: none.")
@option("--readout", type=click.IntRange(min=0), default=5000, help="Samples to fit a new classifier to; 0: none.")
@option("--source", metavar="TEXT", help="Where FILE comes from; every bundle trained from it names the source.")
@option("--licence", type=existing_path, metavar="FILE", help="The text of FILE's licence, which travels with them.")
@option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="What to compute on.")
@option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", help="Of the features fitted to.")
@option("--threads", type=click.IntRange(min=1), help="CPU threads; PyTorch's choice if not given.")
@log_options
def import_weights(
    file: Path,
    recipe: Path,
    changes: tuple[str, ...],
    data: Path | None,
    out: Path,
    channels: str,
    input_scale: float,
    input_mean: tuple[float, ...],
    input_std: tuple[float, ...],
    percentile: float,
    balanced: int,
    readout: int,
    source: str | None,
    licence: Path | None,
    device: str,
    precision: str,
    threads: int | None,
    log_format: LogFormat,
    log_level: str,
) -> None:
    """Read a ResNet-18 or VGG-16 by torchvision's names into a recipe's network.

    FILE is a state dict (.pth of weights alone, or .safetensors) or an ONNX file whose initializers kept their names.
    The float network then computes what FILE's does; its layers are balanced by the recipe's own samples, so that one
    threshold fits them all, and its classifier is fitted to them where FILE's has other classes.
    """
    configure_logs(log_format, log_level)
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out is {out}: name a .safetensors file")
    licences = _licences(source, licence)
    chosen = read_recipe(recipe, changes)
    state = read_state(file)
    convention = Convention(input_scale, input_mean, input_std, bgr=channels == "bgr")
    with machine(device, precision, threads) as where:
        samples = load_data(chosen, data)
        network = _float_network(chosen)
        taken = take_backbone(network, state, convention, samples.normalisation, file)
        network.to(where.device)
        if balanced:
            balance(network, (frames for frames, _ in _batches(samples, balanced, where)), percentile)
        if readout and not taken.classifier:
            _fit_readout(network, samples, readout, where)
        out.parent.mkdir(parents=True, exist_ok=True)
        save_weights(network, out, licences)
        rest = f"; left: {', '.join(taken.left[:4])}" if taken.left else ""
        click.echo(f"{out}: {len(state) - len(taken.left)} of {len(state)} tensors from {file}{rest}")
        _tell_accuracies(network, samples, where)


def _licences(source: str | None, text: Path | None) -> tuple[Licence, ...]:
    if source is None and text is None:
        return ()
    if source is None or text is None:
        raise ConfigError("--source and --licence go together: whose the weights are, and under which licence")
    return (Licence.read(text, source),)


def _float_network(recipe: Recipe) -> SplitNetwork:
    spec = replace(recipe.network.uncompressed, timesteps=1, input_kind="static")
    torch.manual_seed(recipe.seed)
    network = SplitNetwork(spec)
    use(network, rectify)
    return network.eval()


def _batches(data: TrainingData, count: int, where: Machine) -> Iterator[tuple[Tensor, Tensor]]:
    """(input, labels) of evenly spaced training samples."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:count]
    for part in torch.split(order, BATCH):
        frames = data.train.frames[part].to(where.device)
        yield to_input(frames, data.normalisation, "static"), data.train.labels[part].to(where.device)


def _fit_readout(network: SplitNetwork, data: TrainingData, count: int, where: Machine) -> None:
    seen, labels = [], []
    for frames, of_part in _batches(data, count, where):
        with where.autocast():
            seen.append(features(network, frames))
        labels.append(of_part)
    fit_readout(network.cloud.readout.linear, torch.cat(seen), torch.cat(labels))


def _tell_accuracies(network: SplitNetwork, data: TrainingData, where: Machine) -> None:
    some = Samples(data.held_out.frames[:WATCHED_SAMPLES], data.held_out.labels[:WATCHED_SAMPLES])
    named: list[tuple[str, Recurrence]] = [
        ("float", rectify),
        *((f"{levels} levels", ClipFloorShift(levels)) for levels in LEVELS),
    ]
    parts = []
    for name, recurrence in named:
        use(network, recurrence)
        parts.append(f"{name} {accuracy_by_timestep(network, some, data.normalisation, where)[0]:.1%}")
    click.echo(f"accuracy on {len(some)} held-out samples: {', '.join(parts)}")
