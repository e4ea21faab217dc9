import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.models.neuron import Neuron, differentiable_recurrence, inference_recurrence
from shared.network_spec import NeuronSpec

SHAPE = (3, 4, 5)

specs = st.builds(
    NeuronSpec,
    leak=st.sampled_from([1.0, 0.95, 0.9, 0.5]),
    threshold=st.sampled_from([1.0, 0.7, 2.5]),
    initial_membrane=st.sampled_from([0.0, 0.35, 0.5]),
)


def currents(seed: int, timesteps: int = 6, batch: int = 2) -> torch.Tensor:
    return torch.randn(timesteps, batch, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 1.5


@given(specs, st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_it_is_snntorchs_leaky_bit_for_bit(spec: NeuronSpec, seed: int) -> None:
    neuron = Neuron(SHAPE, spec)
    leaky = neuron.as_snntorch()
    assert isinstance(leaky, snntorch.Leaky)
    x = currents(seed)
    membrane = neuron.initial_state(2)
    expected_membrane = membrane.clone()
    with torch.no_grad():
        spikes, last = neuron(x, membrane)
        for t in range(len(x)):
            expected, expected_membrane = leaky(x[t], expected_membrane)
            assert torch.equal(spikes[t], expected)
    assert torch.equal(last, expected_membrane)
    assert 0 < spikes.mean() < 1


@given(specs, st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_inference_gives_the_same_bits_as_training(spec: NeuronSpec, seed: int) -> None:
    x = currents(seed)
    membrane = Neuron(SHAPE, spec).initial_state(2)
    for one, other in zip(
        inference_recurrence(x, membrane, spec), differentiable_recurrence(x, membrane, spec), strict=True
    ):
        assert torch.equal(one, other)


@given(st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_the_gradient_is_snntorchs(seed: int) -> None:
    neuron = Neuron(SHAPE, NeuronSpec(leak=0.9))
    leaky = neuron.as_snntorch()
    x, same_x = currents(seed).requires_grad_(), currents(seed).requires_grad_()
    spikes, _ = neuron(x, neuron.initial_state(2))
    membrane = neuron.initial_state(2).clone()
    expected = []
    for t in range(len(same_x)):
        out, membrane = leaky(same_x[t], membrane)
        expected.append(out)
    weights = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(seed + 1))
    (spikes * weights).sum().backward()
    (torch.stack(expected) * weights).sum().backward()
    assert x.grad is not None
    assert same_x.grad is not None
    assert x.grad.abs().sum() > 0
    torch.testing.assert_close(x.grad, same_x.grad)


def test_stepping_is_running_at_once() -> None:
    neuron = Neuron(SHAPE, NeuronSpec(leak=0.9))
    x = currents(0)
    with torch.no_grad():
        at_once, last = neuron(x, neuron.initial_state(2))
        membrane = neuron.initial_state(2)
        for t in range(len(x)):
            spikes, membrane = neuron(x[t : t + 1], membrane)
            assert torch.equal(spikes[0], at_once[t])
    assert torch.equal(membrane, last)


def test_a_membrane_of_another_shape_is_refused() -> None:
    neuron = Neuron(SHAPE, NeuronSpec())
    with pytest.raises(ValueError, match="does not fit"):
        neuron(currents(0, batch=2), neuron.initial_state(3))


def test_the_given_membrane_is_not_changed() -> None:
    neuron = Neuron(SHAPE, NeuronSpec())
    membrane = torch.zeros(2, *SHAPE)
    with torch.no_grad():
        neuron(currents(0), membrane)
    assert torch.equal(membrane, torch.zeros(2, *SHAPE))
