from __future__ import annotations

from dataclasses import replace

import torch

from shared.network_spec import NetworkSpec
from tests.support.bundles import lively_network
from training.objectives import StageObjective
from training.recipe import StageRecipe

EVENTS = NetworkSpec(
    backbone="vgg16", input_shape=(2, 16, 16), classes=3, split="block1", width=4, timesteps=4, input_kind="events"
)


def test_a_teacher_without_timesteps_is_asked_about_the_mean_of_a_clip() -> None:
    student = lively_network(EVENTS)
    teacher = lively_network(replace(EVENTS, timesteps=1, input_kind="static"), seed=1)
    stage = StageRecipe(kind="finetune", epochs=1, learning_rate=0.1, distill=1.0)
    clips, labels = torch.rand(4, 5, 2, 16, 16), torch.tensor([0, 1, 2, 0, 1])
    asked: list[torch.Tensor] = []
    teacher.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0]))
    loss, logits = StageObjective(student, stage, teacher)(clips, labels)
    (seen,) = asked
    assert seen.equal(clips.mean(0))
    assert logits.shape == (4, 5, 3)
    without, _ = StageObjective(student, replace(stage, distill=0.0), teacher)(clips, labels)
    assert loss > without
