import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shared.models.neuron import Neuron, differentiable_recurrence
from shared.models.split import SplitNetwork
from shared.network_spec import NetworkSpec, NeuronSpec
from training.activations import ClipFloorShift, fused_recurrence, rectify, use

SHAPE = (2, 3, 4)


def currents(seed: int, timesteps: int = 5) -> Tensor:
    return torch.randn(timesteps, 3, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 1.5


@given(st.integers(0, 2**31), st.sampled_from([1.0, 0.9]), st.sampled_from([1.0, 0.8]))
@settings(max_examples=10, deadline=None)
def test_the_fused_recurrence_has_the_same_spikes_and_gradients(seed: int, leak: float, threshold: float) -> None:
    spec = NeuronSpec(leak=leak, threshold=threshold, initial_membrane=0.3)
    results = []
    for recurrence in (differentiable_recurrence, fused_recurrence):
        x = currents(seed).requires_grad_()
        membrane = torch.full((3, *SHAPE), 0.3, requires_grad=True)
        spikes, last = recurrence(x, membrane, spec)
        weights = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(seed + 1))
        ((spikes * weights).sum() + 0.5 * last.sum()).backward()
        results.append((spikes, last, x.grad, membrane.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_a_repeated_current_gets_the_sum_of_its_gradients() -> None:
    spec = NeuronSpec()
    grads = []
    for recurrence in (differentiable_recurrence, fused_recurrence):
        x = currents(1, timesteps=1).requires_grad_()
        spikes, _ = recurrence(x.expand(4, *x.shape[1:]), torch.full((3, *SHAPE), 0.5), spec)
        spikes.square().sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1.0, 2.0]))
@settings(max_examples=15, deadline=None)
def test_the_quantised_activation_is_the_mean_spike_count_of_a_constant_current(
    seed: int, levels: int, threshold: float
) -> None:
    spec = NeuronSpec(threshold=threshold, initial_membrane=threshold / 2)
    neuron = Neuron(SHAPE, spec)
    # Values between the steps of the staircase, where rounding cannot decide.
    random = torch.Generator().manual_seed(seed)
    steps = torch.randint(-levels, 2 * levels, (1, 3, *SHAPE), generator=random)
    x = (steps + 0.5 + 0.8 * (torch.rand(1, 3, *SHAPE, generator=random) - 0.5)) * threshold / levels + threshold / 2
    x = x - threshold / (2 * levels) * (levels % 2 == 0)
    quantised, passed = ClipFloorShift(levels)(x, neuron.initial_state(3), spec)
    with torch.no_grad():
        spikes, _ = neuron(x.expand(levels, *x.shape[1:]), neuron.initial_state(3))
    torch.testing.assert_close(quantised[0], spikes.mean(0))
    assert torch.equal(passed, neuron.initial_state(3))


def test_the_quantised_gradient_is_that_of_the_clip() -> None:
    x = torch.tensor([-0.5, 0.3, 0.9, 1.7]).reshape(1, 1, 1, 1, 4).requires_grad_()
    out, _ = ClipFloorShift(4)(x, torch.empty(1, 0), NeuronSpec())
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0.0, 1.0, 1.0, 0.0]


def test_exchanging_activations_leaves_the_parameters() -> None:
    spec = NetworkSpec("resnet18", (1, 8, 8), 3, "layer1", width=2)
    network = SplitNetwork(spec)
    names = list(network.state_dict())
    use(network, ClipFloorShift(4))
    assert list(network.state_dict()) == names
    use(network, None)
    assert all(module.recurrence is None for module in network.modules() if isinstance(module, Neuron))


@pytest.mark.parametrize("threshold", [1.0, 2.0])
def test_a_float_neuron_is_the_quantised_one_of_endless_levels_below_its_limit(threshold: float) -> None:
    spec = NeuronSpec(threshold=threshold, initial_membrane=threshold / 2)
    x = (currents(4, timesteps=1) - 0.5).clamp(max=threshold)
    membrane = torch.zeros(())
    out, passed = rectify(x, membrane, spec)
    fine, _ = ClipFloorShift(1 << 16)(x, membrane, spec)
    torch.testing.assert_close(out, fine, atol=1e-4, rtol=0.0)
    assert passed is membrane
    assert rectify(torch.tensor(5.0), membrane, spec)[0] == 5.0 / threshold, "without a limit"


@pytest.mark.parametrize("levels", [1, 4])
def test_a_quantised_network_takes_pictures_of_any_side(levels: int) -> None:
    network = SplitNetwork(NetworkSpec("resnet18", (1, 32, 32), 3, "layer1", width=2, timesteps=1))
    use(network, ClipFloorShift(levels))
    assert network(torch.rand(2, 1, 16, 16)).shape == (1, 2, 3)


def test_with_several_levels_each_sample_of_a_batch_takes_the_next() -> None:
    spec = NeuronSpec(threshold=2.0, initial_membrane=1.0)
    x = currents(3, timesteps=1)
    x = torch.cat([x, x], dim=1)[:, :5]
    mixed, _ = ClipFloorShift(1, 4)(x, torch.zeros(()), spec)
    for sample, levels in enumerate((1, 4, 1, 4, 1)):
        alone, _ = ClipFloorShift(levels)(x[:, sample : sample + 1], torch.zeros(()), spec)
        torch.testing.assert_close(mixed[:, sample : sample + 1], alone)
