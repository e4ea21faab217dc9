import pytest
import torch
from torch import Tensor, nn

from training.optimiser import ORTHOGONALISATIONS, StageOptimiser
from training.recipe import Optimiser, StageRecipe


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
    )
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def stage(optimiser: Optimiser) -> StageRecipe:
    return StageRecipe("backbone", 1, 0.1, optimiser=optimiser, muon_weight_decay=0.2, other_learning_rate=0.05)


def gradients(layers: nn.Module, seed: int) -> None:
    x = torch.randn(4, 8, 6, 6, generator=torch.Generator().manual_seed(seed))
    layers.zero_grad()
    layers(x).square().sum().backward()


def test_muon_moves_a_convolution_as_it_moves_the_matrix_of_its_output_channels() -> None:
    layers = network()
    weight: Tensor = layers[0].weight  # type: ignore[assignment]
    matrix = nn.Parameter(weight.detach().flatten(1).clone())
    ours = StageOptimiser(layers, stage("muon"))
    reference = torch.optim.Muon([matrix], 0.1, 0.2, 0.9, ns_steps=ORTHOGONALISATIONS)
    for seed in range(3):
        gradients(layers, seed)
        assert weight.grad is not None
        matrix.grad = weight.grad.flatten(1).clone()
        reference.step()
        ours.step(1.0)
        # Newton-Schulz runs in bfloat16, and the columns stand in another order.
        torch.testing.assert_close(weight.detach().flatten(1), matrix.detach(), atol=2e-3, rtol=0.0)


def test_the_rest_learns_by_sgd_at_its_own_rate() -> None:
    layers = network()
    before = layers[4].bias.detach().clone()  # type: ignore[union-attr]
    optimiser = StageOptimiser(layers, stage("muon"))
    gradients(layers, 0)
    optimiser.step(0.5)
    moved = before - layers[4].bias.detach()  # type: ignore[union-attr]
    grad = layers[4].bias.grad  # type: ignore[union-attr]
    torch.testing.assert_close(moved, 0.5 * 0.05 * (1 + 0.9) * grad)


@pytest.mark.parametrize("kind", ["sgd", "muon"])
def test_what_was_saved_goes_on_as_if_nothing_had_happened(kind: Optimiser) -> None:
    whole, first = network(), network()
    uninterrupted, before = StageOptimiser(whole, stage(kind)), StageOptimiser(first, stage(kind))
    for seed in range(2):
        for layers, optimiser in ((whole, uninterrupted), (first, before)):
            gradients(layers, seed)
            optimiser.step(0.7)
    resumed = network()
    after = StageOptimiser(resumed, stage(kind))
    resumed.load_state_dict(first.state_dict())
    after.load_state_dict(before.state_dict())
    for layers, optimiser in ((whole, uninterrupted), (resumed, after)):
        gradients(layers, 2)
        optimiser.step(0.3)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_frozen_parameters_stay() -> None:
    layers = network()
    layers[0].requires_grad_(False)
    before = layers[0].weight.detach().clone()  # type: ignore[union-attr]
    optimiser = StageOptimiser(layers, stage("muon"))
    gradients(layers, 0)
    optimiser.step(1.0)
    assert torch.equal(before, layers[0].weight)  # type: ignore[arg-type]
