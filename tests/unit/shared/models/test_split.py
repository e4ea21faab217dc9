from dataclasses import replace

import pytest
import torch
from torch import nn

from shared.models.layers import Charge, ResidualBlock
from shared.models.split import CloudNetwork, EdgeNetwork, SplitNetwork
from shared.network_spec import SPLITS, BottleneckSpec, NetworkSpec

EVERY_SPLIT = [(backbone, split) for backbone, splits in SPLITS.items() for split in splits]
BOTTLENECKS = [None, BottleneckSpec(1, 1), BottleneckSpec(4, 2)]


def make(spec: NetworkSpec, seed: int = 0) -> SplitNetwork:
    """An untrained network whose normalisation has statistics of its own, so that spikes are neither all nor none."""
    torch.manual_seed(seed)
    network = SplitNetwork(spec).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.2)
            module.running_var.uniform_(0.05, 0.5)
    return network


def spec_of(backbone: str, split: str, bottleneck: BottleneckSpec | None = None, **more: object) -> NetworkSpec:
    values = {"backbone": backbone, "split": split, "input_shape": (3, 16, 16), "classes": 5, "width": 4, **more}
    return replace(NetworkSpec.from_dict(values), bottleneck=bottleneck)


@pytest.mark.parametrize(("backbone", "split"), EVERY_SPLIT)
@pytest.mark.parametrize("bottleneck", BOTTLENECKS)
def test_stepping_both_halves_is_the_whole_run_at_once(
    backbone: str, split: str, bottleneck: BottleneckSpec | None
) -> None:
    check_steps(make(spec_of(backbone, split, bottleneck)))


@pytest.mark.parametrize("split", SPLITS["resnet18"])
@pytest.mark.parametrize("threshold", [1.0, 2.0])
def test_so_it_is_where_spikes_go_along_the_shortcuts(split: str, threshold: float) -> None:
    neuron = {"threshold": threshold, "initial_membrane": threshold / 2}
    more = {"shortcut": "spikes", "blocks": [1, 2, 2, 3], "neuron": neuron}
    check_steps(make(spec_of("resnet18", split, BottleneckSpec(2, 2), **more)))


@torch.no_grad()
def check_steps(network: SplitNetwork) -> None:
    pictures = torch.rand(3, 3, 16, 16)
    at_once = network(pictures)
    current = network.edge.embed(pictures.unsqueeze(0))[0]
    edge_state, cloud_state = network.edge.initial_state(3), network.cloud.initial_state(3)
    for t in range(4):
        spikes, edge_state = network.edge.step(current, edge_state)
        assert tuple(spikes.shape[1:]) == network.edge.out_shape == network.cloud.in_shape
        assert set(spikes.unique().tolist()) <= {0.0, 1.0}
        logits, cloud_state = network.cloud.step(spikes, cloud_state)
        torch.testing.assert_close(logits, at_once[t], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backbone", SPLITS)
@torch.no_grad()
def test_the_cut_does_not_change_the_network(backbone: str) -> None:
    """The same parameters, cut at every split without a bottleneck, give the same logits."""
    first = make(spec_of(backbone, SPLITS[backbone][0]))
    values = [value for name, value in first.state_dict().items() if "readout" not in name]
    pictures = torch.rand(2, 3, 16, 16)
    expected = first(pictures)
    for split in SPLITS[backbone][1:]:
        other = make(spec_of(backbone, split), seed=1)
        names = [name for name in other.state_dict() if "readout" not in name]
        state = dict(zip(names, values, strict=True))
        state |= {name: value for name, value in first.state_dict().items() if "readout" in name}
        other.load_state_dict(state)
        torch.testing.assert_close(other(pictures), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_block_of_spikes_is_the_published_one() -> None:
    """Held against its formula, written out: what fires is branch plus shortcut, layer by layer, block by block."""
    network = make(spec_of("resnet18", "layer4", shortcut="spikes", blocks=[1, 2, 1, 1]))
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    assert [isinstance(block.shortcut, Charge) for block in blocks] == [True, False, True, False, False]
    assert [block.out_shape for block in blocks] == [(4, 16, 16), (8, 8, 8), (8, 8, 8), (16, 4, 4), (32, 2, 2)]
    for block in blocks:
        x = (torch.rand(1, 3, *block.in_shape) > 0.7).float()
        state = tuple(torch.rand(3, *neuron.shape) for neuron in block.neurons)
        spikes, after = block(x, state)
        inner = block.inner.current(x[0]) + state[0] - (state[0] > 1.0).float()
        end = block.outer((inner > 1.0).float()) + block.shortcut(x[0]) + state[1] - (state[1] > 1.0).float()
        torch.testing.assert_close(after, (inner, end))
        assert torch.equal(spikes[0], (end > 1.0).float())
    assert torch.equal(Charge(2.0)(x), 2.0 * x)


@pytest.mark.parametrize("backbone", SPLITS)
@torch.no_grad()
def test_a_sample_does_not_see_its_neighbours(backbone: str) -> None:
    network = make(spec_of(backbone, SPLITS[backbone][1], BottleneckSpec(2, 2)))
    pictures = torch.rand(4, 3, 16, 16)
    together = network(pictures)
    for i in range(4):
        torch.testing.assert_close(network(pictures[i : i + 1])[:, 0], together[:, i], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_samples_at_different_timesteps_share_a_batch() -> None:
    network = make(spec_of("resnet18", "layer1", BottleneckSpec(2, 2)))
    pictures = torch.rand(2, 3, 16, 16)
    solo = network(pictures)
    currents = network.edge.embed(pictures.unsqueeze(0))[0]
    edge, cloud = network.edge, network.cloud
    # The first sample is one timestep ahead when the second joins it.
    spikes, edge_a = edge.step(currents[:1], edge.initial_state(1))
    _, cloud_a = cloud.step(spikes, cloud.initial_state(1))
    edge_state = tuple(torch.cat(pair) for pair in zip(edge_a, edge.initial_state(1), strict=True))
    cloud_state = tuple(torch.cat(pair) for pair in zip(cloud_a, cloud.initial_state(1), strict=True))
    spikes, _ = edge.step(currents, edge_state)
    logits, _ = cloud.step(spikes, cloud_state)
    torch.testing.assert_close(logits[0], solo[1, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits[1], solo[0, 1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_each_half_is_built_alone() -> None:
    spec = spec_of("vgg16", "block2", BottleneckSpec(2, 2))
    whole = make(spec)
    edge, cloud = EdgeNetwork(spec).eval(), CloudNetwork(spec).eval()
    edge.load_state_dict(whole.edge.state_dict())
    cloud.load_state_dict(whole.cloud.state_dict())
    pictures = torch.rand(2, 3, 16, 16)
    spikes, _ = edge.step(edge.embed(pictures.unsqueeze(0))[0], edge.initial_state(2))
    logits, _ = cloud.step(spikes, cloud.initial_state(2))
    torch.testing.assert_close(logits, whole(pictures)[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_event_clips_are_not_embedded_once() -> None:
    network = make(spec_of("resnet18", "layer1", input_shape=(2, 16, 16), input_kind="events"))
    clips = torch.rand(4, 3, 2, 16, 16)
    assert network(clips).shape == (4, 3, 5)
    assert not torch.allclose(network(clips), network(clips.flip(0)))


@pytest.mark.parametrize(
    ("backbone", "shape", "stem", "width"),
    [
        ("resnet18", (3, 64, 48), "imagenet", 4),
        ("vgg16", (2, 34, 34), "cifar", 8),
        ("resnet18", (1, 33, 35), "cifar", 6),
    ],
)
@torch.no_grad()
def test_other_inputs_and_widths(backbone: str, shape: tuple[int, int, int], stem: str, width: int) -> None:
    for bottleneck in (BottleneckSpec(3, 2), BottleneckSpec(2, 4)):
        spec = spec_of(backbone, SPLITS[backbone][2], bottleneck, input_shape=shape, stem=stem, width=width)
        network = make(spec)
        assert network(torch.rand(2, *shape)).shape == (4, 2, 5)


@torch.no_grad()
def test_a_state_with_too_many_membranes_is_refused() -> None:
    network = make(spec_of("resnet18", "layer1"))
    with pytest.raises(ValueError, match="membranes"):
        network.edge.head(torch.rand(1, 1, 4, 16, 16), (*network.edge.head.initial_state(1), torch.zeros(1)))
