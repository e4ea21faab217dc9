"""What the loss of a stage holds beside the classification."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shared.models.split import SplitNetwork
from shared.network_spec import BottleneckSpec, LightHeadSpec, NetworkSpec
from training.activations import ClipFloorShift, use
from training.losses import classification, distillation, imitation
from training.objectives import StageObjective, set_trainable
from training.recipe import StageKind, StageRecipe

SPEC = NetworkSpec("resnet18", (1, 16, 16), 3, "layer1", width=4, timesteps=1, bottleneck=BottleneckSpec(2, 2))
LIGHT = NetworkSpec(
    "resnet18", (1, 16, 16), 3, "layer1", width=4, timesteps=1,
    bottleneck=BottleneckSpec(2, 1), light=LightHeadSpec((4, 4), (2, 2), (4, 4, 4)),
)  # fmt: skip
FRAMES = torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 3


def quantised(spec: NetworkSpec) -> SplitNetwork:
    torch.manual_seed(0)
    network = SplitNetwork(spec)
    use(network, ClipFloorShift(4))
    return network


def loss(kind: StageKind, spike_cost: float, spec: NetworkSpec = SPEC, teacher: SplitNetwork | None = None) -> float:
    stage = StageRecipe(kind, 1, 0.1, "quantised", spike_cost=spike_cost)
    network = quantised(spec)
    set_trainable(network, stage)
    value, _ = StageObjective(network, stage, teacher)(FRAMES, LABELS)
    return float(value.detach())


def test_spikes_cost_their_share_of_the_encoders_neurons() -> None:
    network = quantised(SPEC)
    share = float(network.train().spikes(FRAMES).mean().detach())
    assert share > 0.0
    for kind in ("bottleneck", "finetune"):
        # In a bottleneck stage the frozen head normalises with its running statistics, so its encoder fires otherwise.
        more = loss(kind, 10.0) - loss(kind, 0.0)
        assert more > 0.0
        if kind == "finetune":
            assert abs(more - 10.0 * share) < 1e-4


def test_without_labels_the_teacher_alone_is_followed() -> None:
    network, teacher = quantised(SPEC), quantised(NetworkSpec("resnet18", (1, 16, 16), 3, "layer1", 4, timesteps=1))
    teacher.eval().requires_grad_(False)
    for kind in ("bottleneck", "finetune"):
        stage = StageRecipe(kind, 1, 0.1, "quantised", distill=1.0, label_weight=0.0)
        set_trainable(network, stage)
        objective = StageObjective(network, stage, teacher)
        first, _ = objective(FRAMES, LABELS)
        second, _ = objective(FRAMES, LABELS.flip(0))
        assert torch.equal(first, second)
        assert float(first.detach()) > 0.0


def test_a_light_head_learns_in_the_bottleneck_stage_and_the_tail_does_not() -> None:
    stage = StageRecipe("bottleneck", 1, 0.1, "quantised", imitate=1.0)
    network, teacher = quantised(LIGHT), quantised(NetworkSpec("resnet18", (1, 16, 16), 3, "layer1", 4, timesteps=1))
    set_trainable(network, stage)
    value, _ = StageObjective(network, stage, teacher.eval().requires_grad_(False))(FRAMES, LABELS)
    value.backward()
    assert all(parameter.grad is not None for parameter in network.edge.parameters())
    assert all(parameter.grad is not None for parameter in network.cloud.decoder.parameters())
    assert all(parameter.grad is None for parameter in network.cloud.tail.parameters())


def test_a_deep_encoder_learns_alone_behind_the_frozen_backbone() -> None:
    stage = StageRecipe("bottleneck", 1, 0.1, "quantised", imitate=1.0)
    network = quantised(replace(LIGHT, light=LightHeadSpec((4, 4), (2, 2), (4, 4, 4), "split")))
    teacher = quantised(network.spec.uncompressed)
    set_trainable(network, stage)
    value, _ = StageObjective(network, stage, teacher.eval().requires_grad_(False))(FRAMES, LABELS)
    value.backward()
    learns = {name for name, parameter in network.edge.named_parameters() if parameter.grad is not None}
    assert learns == set(dict(network.edge.named_parameters())) - set(dict(teacher.edge.named_parameters()))


OUTSIDE = NetworkSpec("resnet18", (1, 16, 16), 4, "layer1", width=4, timesteps=2, bottleneck=BottleneckSpec(2, 2))
PICTURES = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 3, 1])
ANSWERS = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def taught_from_outside(kind: StageKind, distill: float) -> tuple[StageObjective, SplitNetwork]:
    torch.manual_seed(0)
    network, own_teacher = SplitNetwork(OUTSIDE), SplitNetwork(OUTSIDE)
    stage = StageRecipe(kind, 1, 0.1, distill=distill, teacher="t.onnx" if distill else None)
    set_trainable(network, stage)
    return StageObjective(network, stage, own_teacher), network


@pytest.mark.parametrize("kind", ["backbone", "bottleneck", "finetune"])
def test_a_teacher_from_outside_replaces_the_uncompressed_network(kind: StageKind) -> None:
    objective, _ = taught_from_outside(kind, 0.5)
    loss, logits = objective(PICTURES, CLASSES, ANSWERS)
    expected = classification(logits, CLASSES) + 0.5 * distillation(logits, ANSWERS.unsqueeze(0))
    torch.testing.assert_close(loss, expected)
    assert not torch.isclose(loss, objective(PICTURES, CLASSES, -ANSWERS)[0])


def test_without_a_weight_nothing_is_imitated() -> None:
    objective, _ = taught_from_outside("bottleneck", 0.0)
    loss, logits = objective(PICTURES, CLASSES)
    torch.testing.assert_close(loss, classification(logits, CLASSES))


def test_a_bottleneck_still_imitates_its_own_networks_features() -> None:
    torch.manual_seed(0)
    network = SplitNetwork(OUTSIDE)
    stage = StageRecipe("bottleneck", 1, 0.1, distill=0.5, teacher="t.onnx", imitate=2.0)
    set_trainable(network, stage)
    seen: list[torch.Tensor] = []
    network.edge.head.register_forward_hook(lambda _, __, out: seen.append(out[0]))
    network.cloud.decoder.register_forward_hook(lambda _, __, out: seen.append(out[0]))
    loss, logits = StageObjective(network, stage, None)(PICTURES, CLASSES, ANSWERS)
    features, decoded = seen
    expected = classification(logits, CLASSES) + 0.5 * distillation(logits, ANSWERS.unsqueeze(0))
    torch.testing.assert_close(loss, expected + 2.0 * imitation(decoded, features))
