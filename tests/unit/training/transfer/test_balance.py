from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.models.neuron import Neuron
from shared.models.split import SplitNetwork
from shared.network_spec import BottleneckSpec, NetworkSpec, NeuronSpec
from tests.support.bundles import lively_network
from training.activations import ClipFloorShift, rectify, use
from training.transfer.balance import balance, sites

SPECS = [
    NetworkSpec("resnet18", (3, 32, 32), 5, "layer2", width=4, timesteps=1, blocks=(2, 1, 3, 1), shortcut="spikes"),
    NetworkSpec("resnet18", (3, 33, 33), 5, "stem", width=4, timesteps=1, stem="imagenet", shortcut="spikes"),
    NetworkSpec("vgg16", (3, 32, 32), 5, "block2", width=4, timesteps=1),
]


def float_network(spec: NetworkSpec, threshold: float = 1.0) -> SplitNetwork:
    neuron = NeuronSpec(threshold=threshold, initial_membrane=threshold / 2)
    network = lively_network(replace(spec, neuron=neuron), seed=3)
    use(network, rectify)
    return network


def batches(spec: NetworkSpec) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.rand(4, *spec.input_shape, generator=random) for _ in range(2)]


@pytest.mark.parametrize("threshold", [1.0, 2.0])
@pytest.mark.parametrize("spec", SPECS, ids=["cifar", "imagenet", "vgg"])
@torch.no_grad()
def test_balancing_leaves_the_float_network_as_it_was(spec: NetworkSpec, threshold: float) -> None:
    network = float_network(spec, threshold)
    pictures = batches(spec)[0]
    before = network(pictures)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    balance(network, batches(spec), 99.0)
    torch.testing.assert_close(network(pictures), before, atol=1e-5, rtol=1e-4)
    assert any(not torch.equal(value, weights[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("spec", SPECS, ids=["cifar", "imagenet", "vgg"])
@torch.no_grad()
def test_every_channel_that_fires_then_reaches_one(spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.transfer.balance.VALUES_A_BATCH", 1 << 20)  # all of them
    network = float_network(spec)
    balance(network, batches(spec), 100.0)
    largest: dict[Neuron, Tensor] = {}
    for neuron in (*network.edge.neurons, *network.cloud.neurons):
        neuron.register_forward_hook(lambda n, _, out: largest.update({n: out[0].amax((0, 1, 3, 4))}))
    network(torch.cat(batches(spec)))
    for site in sites(network):
        together = torch.stack([largest[neuron] for neuron in site.neurons]).amax(0)
        fires = together > 0
        assert fires.any()
        torch.testing.assert_close(together[fires], torch.ones(int(fires.sum())), atol=1e-4, rtol=0.0)


@torch.no_grad()
def test_levels_cost_less_when_balanced() -> None:
    spec = SPECS[0]
    pictures = batches(spec)[0]
    errors = []
    for balanced in (False, True):
        network = float_network(spec)
        exact = network(pictures)
        if balanced:
            balance(network, batches(spec), 99.0)
        use(network, ClipFloorShift(16))
        errors.append(float((network(pictures) - exact).square().mean()))
    assert errors[1] < 0.5 * errors[0]


def test_every_neuron_has_a_site_and_shortcuts_without_weights_share_one() -> None:
    network = float_network(SPECS[0])
    found = sites(network)
    assert [len(site.neurons) for site in found] == [3, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1]
    assert sum(len(site.neurons) for site in found) == len(network.edge.neurons) + len(network.cloud.neurons)
    assert all(site.consumers and site.producers for site in found)


def test_what_cannot_be_balanced_is_refused() -> None:
    with pytest.raises(ConfigError, match="shortcut"):
        sites(float_network(replace(SPECS[0], shortcut="currents")))
    with pytest.raises(ConfigError, match="bottleneck"):
        sites(float_network(replace(SPECS[0], bottleneck=BottleneckSpec(2, 2))))
