"""Our float execution against the network that the weights came from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.manifest import Normalisation
from shared.models.split import SplitNetwork
from shared.network_spec import NetworkSpec, NeuronSpec
from tests.support.real_data import ROOT
from tests.unit.training.transfer.torchvision_like import ResNet, lively, vgg_features
from training.activations import rectify, use
from training.transfer.backbone import Convention, resample, take_backbone
from training.transfer.foreign import read_state
from training.transfer.readout import features

PATH = Path("w.pth")
OURS = Normalisation(1 / 255, (0.485, 0.456, 0.406), (0.3, 0.2, 0.25))
BLOCKS = (1, 2, 1, 3)
RESNET = NetworkSpec(
    "resnet18", (3, 64, 64), 7, "layer1", width=4, timesteps=1, stem="imagenet", blocks=BLOCKS, shortcut="spikes"
)
VGG = NetworkSpec("vgg16", (3, 32, 32), 7, "block2", width=4, timesteps=1)


def empty(spec: NetworkSpec) -> SplitNetwork:
    torch.manual_seed(0)
    network = SplitNetwork(spec).eval()
    use(network, rectify)
    return network


def pixels(side: int) -> Tensor:
    """In 0 to 1, red first."""
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def by(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)


def ours(pictures: Tensor, normalisation: Normalisation = OURS) -> Tensor:
    return (pictures - by(normalisation.mean)) / by(normalisation.std)


def theirs(pictures: Tensor, convention: Convention) -> Tensor:
    taken = (pictures * convention.scale - by(convention.mean)) / by(convention.std)
    return taken.flip(1) if convention.bgr else taken


@pytest.mark.parametrize("threshold", [1.0, 2.0])
@pytest.mark.parametrize(
    "convention",
    [Convention(), Convention(255.0, (123.675, 116.28, 103.53), (1.0, 1.0, 1.0), bgr=True)],
    ids=["torchvision", "bgr in bytes"],
)
@torch.no_grad()
def test_a_resnet_computes_what_it_did(convention: Convention, threshold: float) -> None:
    neuron = NeuronSpec(threshold=threshold, initial_membrane=threshold / 2)
    reference = lively(ResNet(4, BLOCKS, 7))
    network = empty(replace(RESNET, neuron=neuron))
    taken = take_backbone(network, reference.state_dict(), convention, OURS, PATH)
    assert taken.classifier
    assert all(name.endswith("num_batches_tracked") for name in taken.left)
    expected = reference(theirs(pixels(64), convention))
    torch.testing.assert_close(network(ours(pixels(64)))[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", [False, True])
@torch.no_grad()
def test_a_vgg_computes_what_it_did(norm: bool) -> None:
    reference = lively(vgg_features(4, norm=norm))
    network = empty(replace(VGG, neuron=NeuronSpec(threshold=2.0, initial_membrane=1.0)))
    taken = take_backbone(network, reference.state_dict(), Convention(), OURS, PATH)
    assert not taken.classifier
    expected = reference.features(theirs(pixels(32), Convention())).mean((-2, -1))  # type: ignore[operator]
    torch.testing.assert_close(2.0 * features(network, ours(pixels(32))), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_borders_alone_differ_where_the_padding_does() -> None:
    reference = lively(ResNet(4, BLOCKS, 7))
    other = Normalisation(1 / 255, (0.6, 0.3, 0.5), (0.3, 0.2, 0.25))
    network = empty(RESNET)
    take_backbone(network, reference.state_dict(), Convention(), other, PATH)
    current = network.edge.embed(ours(pixels(64), other).unsqueeze(0))[0]
    expected = reference.bn1(reference.conv1(theirs(pixels(64), Convention())))  # type: ignore[operator]
    torch.testing.assert_close(current[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(current, expected, atol=1e-2)


@torch.no_grad()
def test_the_small_stem_is_the_large_one_on_enlarged_pictures() -> None:
    reference = lively(ResNet(4, BLOCKS, 7))
    network = empty(replace(RESNET, stem="cifar", input_shape=(3, 32, 32)))
    take_backbone(network, reference.state_dict(), Convention(), OURS, PATH)
    # Of ramps interpolation is exact. A small picture's pixel lies between two of the large stem's positions.
    ramp = torch.linspace(0.0, 1.0, 32)
    small = torch.stack([ramp[:, None].expand(32, 32), ramp[None].expand(32, 32), 0.5 * (ramp[:, None] + ramp[None])])
    large = nn.functional.interpolate(small[None], scale_factor=4, mode="bilinear", align_corners=False)
    current = network.edge.embed(ours(small).view(1, 1, 3, 32, 32))[0]
    fine = reference.bn1(reference.conv1(theirs(large, Convention())))  # type: ignore[operator]
    rows = 0.25 * fine[..., ::2, :] + 0.75 * fine[..., 1::2, :]
    expected = 0.25 * rows[..., ::2] + 0.75 * rows[..., 1::2]
    torch.testing.assert_close(current[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-4, rtol=1e-4)


def test_a_resampled_kernel_keeps_its_sum() -> None:
    kernels = torch.randn(5, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    small = resample(kernels)
    assert small.shape == (5, 3, 3, 3)
    torch.testing.assert_close(small.sum((2, 3)), kernels.sum((2, 3)))
    torch.testing.assert_close(resample(kernels.flip(-1)), small.flip(-1))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"blocks": (2, 2, 2, 2)}, r"network.blocks = \[1, 2, 1, 3\]"),
        ({"width": 8}, "network.width = 4"),
        ({"shortcut": "currents"}, "network.shortcut = 'spikes'"),
        ({"input_shape": (1, 64, 64)}, "3 are expected"),
    ],
)
def test_a_recipe_of_another_network_is_told_what_to_set(change: dict[str, object], named: str) -> None:
    network = empty(replace(RESNET, **change))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=named):
        take_backbone(network, ResNet(4, BLOCKS, 7).state_dict(), Convention(), OURS, PATH)


def test_what_is_missing_or_of_another_kind_is_named() -> None:
    state = ResNet(4, BLOCKS, 7).state_dict()
    part = {name: value for name, value in state.items() if name != "layer2.0.downsample.1.running_var"}
    with pytest.raises(ConfigError, match=r"no layer2\.0\.downsample\.1\.running_var"):
        take_backbone(empty(RESNET), part, Convention(), OURS, PATH)
    with pytest.raises(ConfigError, match="three convolutions"):
        take_backbone(empty(RESNET), state | {"layer1.0.conv3.weight": torch.zeros(1)}, Convention(), OURS, PATH)
    with pytest.raises(ConfigError, match="other names"):
        take_backbone(empty(RESNET), {"stem.weight": torch.zeros(1)}, Convention(), OURS, PATH)
    with pytest.raises(ConfigError, match=r"conv1\.weight is"):
        take_backbone(empty(RESNET), state | {"conv1.weight": torch.zeros(4, 3, 5, 5)}, Convention(), OURS, PATH)
    short = {
        name: value for name, value in vgg_features(4, norm=False).state_dict().items() if "features.2" not in name
    }
    with pytest.raises(ConfigError, match="VGG of"):
        take_backbone(empty(VGG), short, Convention(), OURS, PATH)
    with pytest.raises(ConfigError, match="backbone = 'vgg16'"):
        take_backbone(empty(RESNET), vgg_features(4, norm=True).state_dict(), Convention(), OURS, PATH)


IMAGENET = ROOT / "imagenet_resnet18"


@pytest.mark.skipif(not IMAGENET.is_dir(), reason=f"no {IMAGENET}: set NEUCODEX_TEST_DATA")
@torch.no_grad()
def test_the_imagenet_weights_give_the_features_that_came_with_them() -> None:
    path = IMAGENET / "weights.safetensors"
    mean = (123.15163, 115.902885, 103.06262)
    convention = Convention(255.0, mean, (1.0, 1.0, 1.0), bgr=True)
    same_padding = Normalisation(1 / 255, tuple(value / 255 for value in mean), (0.25, 0.25, 0.25))
    network = empty(replace(RESNET, width=64, input_shape=(3, 128, 128), blocks=(2, 2, 2, 3)))
    assert take_backbone(network, read_state(path), convention, same_padding, path).left == ()
    reference = np.load(IMAGENET / "reference.npz")
    pictures = torch.from_numpy(reference["pictures"]).permute(0, 3, 1, 2) / 255
    expected = torch.from_numpy(reference["features"])
    found = features(network, ours(pictures, same_padding))
    torch.testing.assert_close(found, expected, atol=1e-2 * float(expected.abs().max()), rtol=0.0)
