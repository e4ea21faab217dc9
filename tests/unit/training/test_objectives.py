from __future__ import annotations

import pytest
import torch

from shared.models.split import SplitNetwork
from shared.network_spec import BottleneckSpec, NetworkSpec
from training.losses import classification, distillation, imitation
from training.objectives import StageObjective, set_trainable
from training.recipe import Kind, StageRecipe

SPEC = NetworkSpec("resnet18", (1, 16, 16), 4, "layer1", width=4, timesteps=2, bottleneck=BottleneckSpec(2, 2))
FRAMES = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 1])
ANSWERS = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def made(kind: Kind, distill: float) -> tuple[StageObjective, SplitNetwork]:
    torch.manual_seed(0)
    network, own_teacher = SplitNetwork(SPEC), SplitNetwork(SPEC)
    stage = StageRecipe(kind, 1, 0.1, distill=distill, teacher="t.onnx" if distill else None)
    set_trainable(network, stage)
    return StageObjective(network, stage, own_teacher), network


@pytest.mark.parametrize("kind", ["backbone", "bottleneck", "finetune"])
def test_a_teacher_from_outside_replaces_the_uncompressed_network(kind: Kind) -> None:
    objective, _ = made(kind, 0.5)
    loss, logits = objective(FRAMES, LABELS, ANSWERS)
    expected = classification(logits, LABELS) + 0.5 * distillation(logits, ANSWERS.unsqueeze(0))
    torch.testing.assert_close(loss, expected)
    assert not torch.isclose(loss, objective(FRAMES, LABELS, -ANSWERS)[0])


def test_without_a_weight_nothing_is_imitated() -> None:
    objective, _ = made("bottleneck", 0.0)
    loss, logits = objective(FRAMES, LABELS)
    torch.testing.assert_close(loss, classification(logits, LABELS))


def test_a_bottleneck_still_imitates_its_own_networks_features() -> None:
    torch.manual_seed(0)
    network = SplitNetwork(SPEC)
    stage = StageRecipe("bottleneck", 1, 0.1, distill=0.5, teacher="t.onnx", imitate=2.0)
    set_trainable(network, stage)
    seen: list[torch.Tensor] = []
    network.edge.head.register_forward_hook(lambda _, __, out: seen.append(out[0]))
    network.cloud.decoder.register_forward_hook(lambda _, __, out: seen.append(out[0]))
    loss, logits = StageObjective(network, stage, None)(FRAMES, LABELS, ANSWERS)
    features, decoded = seen
    expected = classification(logits, LABELS) + 0.5 * distillation(logits, ANSWERS.unsqueeze(0))
    torch.testing.assert_close(loss, expected + 2.0 * imitation(decoded, features))
