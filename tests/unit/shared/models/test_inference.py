"""The inference form against the network as it was trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from shared.models.inference import in_place_recurrence, inference_form
from shared.models.neuron import inference_recurrence
from shared.models.split import SplitNetwork
from shared.network_spec import SPLITS, Backbone, BottleneckSpec, NetworkSpec, NeuronSpec
from tests.support.bundles import lively_network, random_inputs

# Lively networks: every normalisation has its own statistics, gains and offsets, without which folding shows nothing.
CUTS = [(backbone, split) for backbone, splits in SPLITS.items() for split in splits]
BATCH = 3


def make_spec(backbone: Backbone, split: str, bottleneck: BottleneckSpec | None) -> NetworkSpec:
    neuron = NeuronSpec(leak=0.9, threshold=1.0, initial_membrane=0.5)
    return NetworkSpec(backbone, (2, 16, 16), 5, split, width=4, timesteps=4, neuron=neuron, bottleneck=bottleneck)


@pytest.mark.parametrize("bottleneck", [None, BottleneckSpec(2, 1), BottleneckSpec(1, 2)], ids=str)
@pytest.mark.parametrize(("backbone", "split"), CUTS)
def test_the_same_spikes_and_logits_for_every_cut(
    backbone: Backbone, split: str, bottleneck: BottleneckSpec | None
) -> None:
    check_form(lively_network(make_spec(backbone, split, bottleneck), seed=5))


def test_the_same_where_spikes_go_along_the_shortcuts() -> None:
    spec = replace(make_spec("resnet18", "layer2", BottleneckSpec(2, 2)), shortcut="spikes", blocks=(1, 2, 2, 1))
    check_form(lively_network(spec, seed=5))


@torch.inference_mode()
def check_form(network: SplitNetwork) -> None:
    edge, cloud = inference_form(network.edge), inference_form(network.cloud)
    currents = network.currents(random_inputs(network.spec, BATCH, seed=4))
    fast_currents = edge.embed(random_inputs(network.spec, BATCH, seed=4).unsqueeze(0))[0]
    assert torch.allclose(currents[0], fast_currents, atol=1e-5)
    states = [part.initial_state(BATCH) for part in (network.edge, edge, network.cloud, cloud)]
    fired = 0.0
    for timestep in range(4):
        spikes, states[0] = network.edge.step(currents[timestep], states[0])
        fast_spikes, states[1] = edge.step(fast_currents, states[1])
        assert torch.equal(spikes, fast_spikes)
        logits, states[2] = network.cloud.step(spikes, states[2])
        fast_logits, states[3] = cloud.step(fast_spikes.contiguous(memory_format=torch.channels_last), states[3])
        assert torch.allclose(logits, fast_logits, atol=1e-4)
        fired += float(spikes.mean())
    for reference, fast in ((states[0], states[1]), (states[2], states[3])):
        for membrane, fast_membrane in zip(reference, fast, strict=True):
            assert torch.allclose(membrane, fast_membrane, atol=1e-4)
    assert 0.0 < fired < 4.0, "a silent network shows nothing"


def test_no_normalisation_is_left_and_the_original_is_as_it_was() -> None:
    network = lively_network(make_spec("resnet18", "layer1", BottleneckSpec(1, 2)))
    before = {name: value.clone() for name, value in network.cloud.state_dict().items()}
    fast = inference_form(network.cloud)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.cloud.state_dict().items())
    assert all(neuron.recurrence is None for neuron in network.cloud.neurons)
    assert not any(parameter.requires_grad for parameter in fast.parameters())


@pytest.mark.parametrize("timesteps", [1, 3])
@pytest.mark.parametrize("leak", [1.0, 0.8])
def test_the_in_place_neuron_has_the_same_bits(leak: float, timesteps: int) -> None:
    neuron = NeuronSpec(leak=leak, threshold=0.7, initial_membrane=0.1)
    currents = torch.randn(timesteps, 4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    kept = currents.clone()
    membrane = torch.full((4, 2, 5, 5), 0.1)
    spikes, after = inference_recurrence(currents, membrane, neuron)
    fast_spikes, fast_after = in_place_recurrence(currents, membrane, neuron)
    assert torch.equal(spikes, fast_spikes)
    assert torch.equal(after, fast_after)
    assert fast_after is membrane
    spread = torch.tensor(0.1).expand(4, 2, 5, 5)
    assert torch.equal(in_place_recurrence(currents, spread, neuron)[1], after)
    assert spread.unique().tolist() == [pytest.approx(0.1)]
    assert torch.equal(currents, kept), "a static picture's current is used again at the next timestep"
