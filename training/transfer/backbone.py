"""Converts torchvision's ResNet (of basic blocks) or VGG-16 to our backbone, with its normalisation.

The result computes the same if its neurons are ReLUs (`neurons = "float"`). Three things are folded into the
weights: the other network's input normalisation, the threshold, by which a float neuron divides, and a
convolution's bias.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.manifest import Normalisation
from shared.models.layers import Chain, ResidualBlock, SpikingConv, SpikingModule
from shared.models.split import SplitNetwork
from shared.network_spec import VGG_CONVOLUTIONS, NetworkSpec
from training import imagenet
from training.transfer.foreign import StateDict

CLASSIFIERS = ("fc", "classifier")

STEM_REDUCTION = 4
"""The stem for large pictures divides each side by this."""


@dataclass(frozen=True)
class Convention:
    """The input normalisation of a network: (pixel * scale - mean) / std, the pixel in 0 to 1.

    `mean` and `std` are in the order red, green, blue; `bgr` means that the network takes them in reverse order.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = imagenet.MEAN
    std: tuple[float, ...] = imagenet.STD
    bgr: bool = False


@dataclass(frozen=True)
class Pair:
    """A convolution with its normalisation: their names in the file, and our layers. `norm` None: a bias alone."""

    conv: str
    norm: str | None
    ours: nn.Sequential


@dataclass(frozen=True)
class Taken:
    """The result of an import: whether the classifier fitted, and the names of the tensors that were not used."""

    classifier: bool
    left: tuple[str, ...]


@torch.no_grad()
def take_backbone(
    network: SplitNetwork, state: StateDict, convention: Convention, normalisation: Normalisation, path: Path
) -> Taken:
    """Load another network's weights into ours.

    A 7 x 7 kernel becomes one of 3 x 3 where ours has the stem for small pictures. Where the other network pads its
    input with something that is not 0 in ours, the borders differ by that.

    Args:
        network: without a bottleneck.
        state: the tensors, by torchvision's names.
        convention: the input normalisation of the other network.
        normalisation: that of our network.
        path: for messages.

    Raises:
        ConfigError: the file has another network than the recipe, which is named field by field, or lacks a tensor.
    """
    _check(network.spec, state, path)
    used: set[str] = set()

    def take(name: str, like: Tensor) -> Tensor:
        if name not in state:
            raise ConfigError(
                f"{path} has no {name}: torchvision's names and separate batch normalisation are expected"
            )
        if state[name].shape != like.shape and like.dim() != 4:
            raise ConfigError(f"{path}: {name} is {tuple(state[name].shape)}, {tuple(like.shape)} is expected")
        used.add(name)
        return state[name].clone()

    threshold = network.spec.neuron.threshold
    for index, pair in enumerate(_pairs(network, state)):
        convolution, norm = pair.ours[0], pair.ours[1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        weight = take(f"{pair.conv}.weight", convolution.weight)
        shift = take(f"{pair.conv}.bias", norm.bias) if f"{pair.conv}.bias" in state else torch.zeros_like(norm.bias)
        if pair.norm is None:
            values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0 - norm.eps}
            statistics = {name: torch.full_like(norm.bias, value) for name, value in values.items()}
        else:
            names = ("weight", "bias", "running_mean", "running_var")
            statistics = {name: take(f"{pair.norm}.{name}", norm.bias) for name in names}
        statistics["running_mean"] -= shift
        if index == 0:
            weight, offset = _for_our_input(weight, convention, normalisation)
            statistics["running_mean"] -= offset
            if weight.shape[-1] == 7 and convolution.weight.shape[-1] == 3:
                weight = resample(weight)
        else:
            weight *= threshold
        if weight.shape != convolution.weight.shape:
            raise ConfigError(
                f"{path}: {pair.conv}.weight is {tuple(weight.shape)}, {tuple(convolution.weight.shape)} is expected"
            )
        convolution.weight.copy_(weight)
        for name, value in statistics.items():
            getattr(norm, name).copy_(value)
    classifier = _take_classifier(network.cloud.readout.linear, state, threshold)
    return Taken(bool(classifier), tuple(sorted(set(state) - used - classifier)))


def resample(kernels: Tensor) -> Tensor:
    """The 7 x 7 kernels of the stem for large pictures as 3 x 3 ones for small pictures: [O, I, 7, 7] -> [O, I, 3, 3].

    That stem leaves a quarter of each side, its convolution's stride and its pooling's. So the kernels are those for
    small pictures enlarged four times by linear interpolation, of which the pooling's maximum is all that is left out.
    The sum of a kernel, its answer to an even picture, stays as it was.
    """
    taps, cells = torch.arange(-3.0, 4.0), torch.arange(-1.0, 2.0)
    share = (1.0 - (taps / STEM_REDUCTION - cells[:, None]).abs()).clamp(min=0.0)  # of each tap in each cell
    return share @ kernels @ share.T


def blocks_of(state: StateDict) -> tuple[int, ...]:
    """How many blocks layer1, layer2, ... of a ResNet have."""
    found = {(int(m[1]), int(m[2])) for name in state if (m := re.match(r"layer(\d+)\.(\d+)\.conv1\.weight$", name))}
    layers = {layer for layer, _ in found}
    return tuple(sum(layer == one for one, _ in found) for layer in sorted(layers))


def _check(spec: NetworkSpec, state: StateDict, path: Path) -> None:
    """Compare what the file and the recipe say of the network."""
    if "layer1.0.conv3.weight" in state:
        raise ConfigError(f"{path} has blocks of three convolutions (ResNet-50 and larger): those of two are expected")
    if "conv1.weight" in state:
        first = state["conv1.weight"]
        wanted = {"backbone": "resnet18", "blocks": blocks_of(state), "shortcut": "spikes", "width": len(first)}
    elif "features.0.weight" in state:
        first = state["features.0.weight"]
        if (count := len(_vgg_convolutions(state))) != sum(VGG_CONVOLUTIONS):
            raise ConfigError(f"{path} is a VGG of {count} convolutions, not VGG-16, which has {sum(VGG_CONVOLUTIONS)}")
        wanted = {"backbone": "vgg16", "width": len(first)}
    else:
        raise ConfigError(
            f"{path} has neither conv1.weight (ResNet) nor features.0.weight (VGG): other names are unknown"
        )
    for name, value in wanted.items():
        if (ours := getattr(spec, name)) != value:
            shown = list(value) if isinstance(value, tuple) else value
            raise ConfigError(
                f"{path} has another network than the recipe: set network.{name} = {shown!r}, not {ours!r}"
            )
    if not first.shape[1] == spec.input_shape[0] == 3:
        raise ConfigError(
            f"{path} takes {first.shape[1]} channels, network.input_shape has {spec.input_shape[0]}: 3 are expected, "
            "red, green and blue"
        )


def _pairs(network: SplitNetwork, state: StateDict) -> Iterator[Pair]:
    """The convolutions in the order in which they run, the shortcut's last in its block."""
    blocks = list(_flat([*network.edge.head.blocks, *network.cloud.tail.blocks]))
    if network.spec.backbone == "vgg16":
        ours = [network.edge.embedding, *(block.current for block in blocks if isinstance(block, SpikingConv))]
        for index, pair in zip(_vgg_convolutions(state), ours, strict=True):
            norm = f"features.{index + 1}"
            yield Pair(f"features.{index}", norm if f"{norm}.running_mean" in state else None, pair)
        return
    yield Pair("conv1", "bn1", network.edge.embedding)
    residual = iter([block for block in blocks if isinstance(block, ResidualBlock)])
    for layer, count in enumerate(network.spec.blocks, 1):
        for index in range(count):
            block, name = next(residual), f"layer{layer}.{index}"
            yield Pair(f"{name}.conv1", f"{name}.bn1", block.inner.current)
            yield Pair(f"{name}.conv2", f"{name}.bn2", block.outer)
            if isinstance(block.shortcut, nn.Sequential):
                yield Pair(f"{name}.downsample.0", f"{name}.downsample.1", block.shortcut)


def _vgg_convolutions(state: StateDict) -> list[int]:
    """Where in torchvision's `features` they are."""
    names = {int(m[1]): value for name, value in state.items() if (m := re.match(r"features\.(\d+)\.weight$", name))}
    return sorted(index for index, value in names.items() if value.dim() == 4)


def _flat(blocks: list[nn.Module]) -> Iterator[SpikingModule]:
    """The blocks of chains within chains, one after the other."""
    for block in blocks:
        if isinstance(block, Chain):
            yield from _flat(list(block.blocks))
        elif isinstance(block, SpikingModule):
            yield block


def _for_our_input(weight: Tensor, convention: Convention, ours: Normalisation) -> tuple[Tensor, Tensor]:
    """The first convolution for our input x: of what the other network takes, y = gain x + shift by channel.

    Returns:
        (weight for x in the order red, green, blue; what the shift added to each output channel).
    """
    mean, std = torch.tensor(convention.mean), torch.tensor(convention.std)
    # Ours is x = (byte * ours.scale - ours.mean) / ours.std, and their pixel is byte / 255.
    per_pixel = convention.scale / (255.0 * ours.scale)
    gain = torch.tensor(ours.std) * per_pixel / std
    shift = (torch.tensor(ours.mean) * per_pixel - mean) / std
    rgb = weight.flip(1) if convention.bgr else weight
    return rgb * gain.view(1, -1, 1, 1), (rgb.sum((2, 3)) * shift).sum(1)


def _take_classifier(readout: nn.Linear, state: StateDict, threshold: float) -> set[str]:
    """The classifier, where it has as many classes and sees as many features as ours."""
    for name in CLASSIFIERS:
        weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
        if weight is not None and bias is not None and weight.shape == readout.weight.shape:
            readout.weight.copy_(weight * threshold)
            readout.bias.copy_(bias)
            return {f"{name}.weight", f"{name}.bias"}
    return set()
