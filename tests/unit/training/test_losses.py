import pytest
import torch
import torch.nn.functional as F

from training.losses import classification, distillation, imitation, running_mean


def test_running_mean() -> None:
    logits = torch.tensor([[[1.0, 0.0]], [[3.0, 2.0]], [[2.0, 1.0]]])
    assert running_mean(logits).squeeze(1).tolist() == [[1.0, 0.0], [2.0, 1.0], [2.0, 1.0]]


def test_the_loss_is_taken_at_every_timestep() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, 4), torch.tensor([0, 1, 2, 3, 0])
    each = [F.cross_entropy(step, labels) for step in logits]
    assert classification(logits, labels, "each") == pytest.approx(sum(each) / 3)
    seen = [F.cross_entropy(step, labels) for step in running_mean(logits)]
    assert classification(logits, labels, "running_mean") == pytest.approx(sum(seen) / 3)
    weighted = (3 * seen[0] + seen[1] + seen[2]) / 5
    assert classification(logits, labels, "running_mean", first_weight=3.0) == pytest.approx(weighted)


def test_every_timestep_gets_a_gradient() -> None:
    logits = torch.randn(4, 2, 3, requires_grad=True)
    classification(logits, torch.tensor([0, 1]), "each").backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum((1, 2)) > 0).all()


def test_distillation_is_zero_only_at_the_teachers_answer() -> None:
    teacher = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    assert float(distillation(teacher.expand(4, 6, 4), teacher)) == pytest.approx(0.0, abs=1e-6)
    assert float(distillation(teacher.expand(4, 6, 4) + torch.eye(4)[0] * 2, teacher)) > 0.05


def test_imitation_compares_rates_not_timing() -> None:
    spikes = (torch.rand(4, 2, 3, 5, 5, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    assert float(imitation(spikes.flip(0), spikes)) == 0.0
    assert float(imitation(1 - spikes, spikes)) > 0.0
