from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import nn

from shared.models import split as models
from shared.models.split import SplitNetwork
from shared.network_spec import SPLITS, BottleneckSpec, LightHeadSpec, NetworkSpec, Shortcut
from shared.operations import count, dense, frame_shape, split_shape

EVERY_SPLIT = [(backbone, split) for backbone, splits in SPLITS.items() for split in splits]
BOTTLENECKS = [None, BottleneckSpec(1, 1), BottleneckSpec(4, 2), BottleneckSpec(3, 4)]


def hooked(spec: NetworkSpec) -> dict[str, int]:
    """Operations of each half of the built network, from the shapes that pass through its layers at one timestep."""
    seen = {"edge.embedding": 0, "edge": 0, "cloud": 0}

    def hook(name: str, layer: nn.Module, inputs: tuple[torch.Tensor], out: torch.Tensor) -> None:
        part = "edge.embedding" if name.startswith("edge.embedding") else name.split(".", maxsplit=1)[0]
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        passes = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else out
        seen[part] += passes.numel() * weight[0].numel()

    network = SplitNetwork(spec).eval()
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.register_forward_hook(lambda m, i, o, name=name: hook(name, m, i, o))
    with torch.inference_mode():
        network(torch.rand(1, *spec.input_shape))
    return seen


@pytest.mark.parametrize(("backbone", "split"), EVERY_SPLIT)
@pytest.mark.parametrize("bottleneck", BOTTLENECKS)
@pytest.mark.parametrize("side", [8, 17, 32])
def test_counts_are_those_of_the_built_network(
    backbone: Any, split: str, bottleneck: BottleneckSpec | None, side: int
) -> None:
    spec = NetworkSpec(backbone, (3, side, side), 5, split, width=4, timesteps=1, bottleneck=bottleneck)
    found = {
        "edge.embedding": dense(spec, "edge", real_valued=True),
        "edge": dense(spec, "edge"),
        "cloud": dense(spec, "cloud"),
    }
    assert found == hooked(spec)
    assert_shapes(spec)


def assert_shapes(spec: NetworkSpec) -> None:
    """Those that are counted without torch are those of the built network."""
    with torch.device("meta"):
        network = SplitNetwork(spec)
    assert frame_shape(spec) == network.edge.out_shape
    assert split_shape(spec) == models.split_shape(spec)


def test_the_stem_for_large_pictures() -> None:
    spec = NetworkSpec("resnet18", (3, 65, 65), 5, "stem", width=4, timesteps=1, stem="imagenet")
    seen = hooked(spec)
    assert dense(spec, "edge", real_valued=True) == seen["edge.embedding"]
    assert dense(spec, "cloud") == seen["cloud"]


@pytest.mark.parametrize("shortcut", get_args(Shortcut))
def test_other_blocks_and_shortcuts(shortcut: Shortcut) -> None:
    spec = NetworkSpec(
        "resnet18", (3, 17, 17), 5, "layer1", width=4, timesteps=1, blocks=(1, 2, 1, 3), shortcut=shortcut
    )
    seen = hooked(spec)
    assert (dense(spec, "edge"), dense(spec, "cloud")) == (seen["edge"], seen["cloud"])


def test_a_light_head_has_a_hundredth_of_the_backbones_operations() -> None:
    light = LightHeadSpec((48, 96, 96), (2, 2, 1), (128, 96, 64))
    spec = NetworkSpec(
        "resnet18", (3, 32, 32), 10, "layer1", timesteps=1, bottleneck=BottleneckSpec(16, 1), light=light
    )
    found = {
        "edge.embedding": dense(spec, "edge", real_valued=True),
        "edge": dense(spec, "edge"),
        "cloud": dense(spec, "cloud"),
    }
    assert found == hooked(spec)
    assert found["edge.embedding"] + found["edge"] == 8_392_704


def test_resnet18_of_cifar10_has_its_published_size() -> None:
    spec = NetworkSpec("resnet18", (3, 32, 32), 10, "layer1")
    assert dense(spec) + dense(spec, real_valued=True) == pytest.approx(0.556e9, rel=0.01)
    assert dense(spec, real_valued=True) == 64 * 32 * 32 * 27


def test_the_cut_moves_layers_and_changes_none() -> None:
    spec = NetworkSpec("resnet18", (3, 32, 32), 10, "layer1")
    totals = {dense(replace(spec, split=split)) for split in SPLITS["resnet18"]}
    assert len(totals) == 1
    assert [layer.half for layer in count(spec)].count("edge") == 5
