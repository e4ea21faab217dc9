"""The rate execution: counts in place of spikes, but for the neurons that make the frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from shared.errors import SpecError
from shared.models.neuron import Neuron
from shared.models.rate import EncoderNeurons, RateCloud, RateEdge, mean_count
from shared.models.split import SplitNetwork
from shared.network_spec import BottleneckSpec, NetworkSpec, NeuronSpec
from tests.support.bundles import lively_network, random_inputs
from training.activations import ClipFloorShift, use

SPEC = NetworkSpec(
    "resnet18",
    (3, 16, 16),
    10,
    "layer2",
    width=4,
    bottleneck=BottleneckSpec(2, 2),
    neuron=NeuronSpec(threshold=2.0, initial_membrane=1.0),
)
BATCH = 6


@pytest.fixture(scope="module")
def network() -> SplitNetwork:
    return lively_network(SPEC, seed=3)


@given(st.integers(1, 16), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 2**31))
def test_a_mean_count_is_that_of_a_neuron_under_a_constant_current(levels: int, threshold: float, seed: int) -> None:
    spec = NeuronSpec(threshold=threshold, initial_membrane=threshold / 2)
    # In steps of a 64th: no sum is rounded. Off the borders by half a step: spikes come above the threshold, not on it.
    steps = torch.randint(-64, 192, (1, 2, 3, 4, 4), generator=torch.Generator().manual_seed(seed))
    currents = (steps + 0.5) * threshold / 64
    neuron = Neuron((3, 4, 4), spec)
    spikes, _ = neuron(currents.expand(levels, -1, -1, -1, -1), neuron.initial_state(2))
    counted, _ = mean_count(levels)(currents, neuron.initial_state(2), spec)
    assert torch.equal(counted[0], spikes.sum(0) / levels)


@torch.inference_mode()
def quantised(network: SplitNetwork, head_levels: int, tail_levels: int) -> SplitNetwork:
    """The form that is trained: unfolded, its neurons replaced by those of training."""
    copy = SplitNetwork(network.spec)
    copy.load_state_dict(network.state_dict())
    use(copy.edge, ClipFloorShift(head_levels))
    use(copy.cloud, ClipFloorShift(tail_levels))
    return copy.eval()


def assert_same(actual: Tensor, expected: Tensor) -> None:
    """Nearly all values: where a current lies within a rounding error of two levels' border, one may go either way."""
    assert expected.std() > 0.01, "a silent network shows nothing"
    assert torch.isclose(actual, expected, atol=1e-4).float().mean() > 0.95


@pytest.mark.parametrize("levels", [1, 5, 8])
@torch.inference_mode()
def test_the_head_runs_once_as_it_was_trained(network: SplitNetwork, levels: int) -> None:
    inputs = random_inputs(SPEC, BATCH, seed=4)
    edge = quantised(network, levels, 8).edge
    features, _ = edge.head(edge.embed(inputs.unsqueeze(0)), edge.head.initial_state(BATCH))
    currents = RateEdge(network.edge, levels)(inputs)
    assert currents.shape == (BATCH, *network.edge.out_shape)
    assert_same(currents, edge.encoder.current(features[0]))  # type: ignore[operator]


@pytest.mark.parametrize("levels", [1, 5, 8])
@torch.inference_mode()
def test_the_cloud_reads_the_mean_of_the_frames(network: SplitNetwork, levels: int) -> None:
    timesteps = torch.tensor([1, 2, 3, 4, 7, 255])
    chance = torch.full((BATCH, *network.cloud.in_shape), 0.4)
    counts = timesteps.float().view(-1, 1, 1, 1).expand_as(chance)
    sums = torch.binomial(counts, chance, generator=torch.Generator().manual_seed(0))
    cloud = quantised(network, 8, levels).cloud
    means = (sums / timesteps.view(-1, 1, 1, 1)).unsqueeze(0)
    expected, _ = cloud(means, cloud.initial_state(BATCH))
    actual = RateCloud(network.cloud, levels)(sums.to(torch.uint8), timesteps.to(torch.uint8))
    assert actual.dtype is torch.float32
    assert_same(actual, expected[0])


@torch.inference_mode()
def test_a_sample_does_not_see_its_neighbours(network: SplitNetwork) -> None:
    cloud = RateCloud(network.cloud, 8)
    random = torch.Generator().manual_seed(0)
    sums = torch.randint(0, 4, (BATCH, *network.cloud.in_shape), dtype=torch.uint8, generator=random)
    timesteps = torch.tensor([3, 4, 5, 3, 4, 5], dtype=torch.uint8)
    together = cloud(sums, timesteps)
    alone = torch.cat([cloud(sums[one : one + 1], timesteps[one : one + 1]) for one in range(BATCH)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_networks_that_they_were_made_of_are_left_as_they_were(network: SplitNetwork) -> None:
    inputs = random_inputs(SPEC, 2, seed=5)
    before = network(inputs)
    RateEdge(network.edge, 8)(inputs)
    RateCloud(network.cloud, 8)(torch.ones((2, *network.cloud.in_shape), dtype=torch.uint8), torch.ones(2))
    assert torch.equal(network(inputs), before)


@pytest.mark.parametrize("events", [False, True])
@torch.inference_mode()
def test_the_encoders_neurons_are_the_networks_own(network: SplitNetwork, events: bool) -> None:
    shape = network.edge.out_shape
    leading = (SPEC.timesteps, BATCH) if events else (BATCH,)
    currents = torch.randn(*leading, *shape, generator=torch.Generator().manual_seed(0)) * 1.5
    given = currents.clone()
    frames = EncoderNeurons(network.edge).frames(currents)
    neuron = Neuron(shape, SPEC.neuron)
    stepped = currents if events else currents.expand(SPEC.timesteps, *currents.shape)
    expected, _ = neuron(stepped, neuron.initial_state(BATCH))
    assert torch.equal(frames, expected)
    assert 0 < frames.mean() < 1
    assert torch.equal(currents, given)


@pytest.mark.parametrize("changes", [{"bottleneck": None}, {"neuron": NeuronSpec(leak=0.9)}])
def test_a_network_without_this_execution_is_refused(changes: dict[str, object]) -> None:
    network = SplitNetwork(replace(SPEC, **changes))  # type: ignore[arg-type]
    for make in (lambda: RateEdge(network.edge, 8), lambda: RateCloud(network.cloud, 8)):
        with pytest.raises(SpecError, match="this network has no execution 'rate'"):
            make()
