import pytest

from training.recipe import Schedule, StageRecipe
from training.trainer import rate_fraction


@pytest.mark.parametrize(("schedule", "half_way"), [("cosine", 0.55), ("linear", 0.55)])
def test_the_learning_rate_rises_and_falls(schedule: Schedule, half_way: float) -> None:
    stage = StageRecipe("backbone", 12, 1.0, warmup_epochs=2, schedule=schedule, final_rate=0.1)
    rates = [rate_fraction(stage, step, per_epoch=10) for step in range(120)]
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert (rates[0], rates[19], rates[20]) == (0.05, 1.0, 1.0)
    assert rates[70] == pytest.approx(half_way)


def test_linear_is_linear_and_goes_to_nothing() -> None:
    stage = StageRecipe("backbone", 10, 1.0, warmup_epochs=0, schedule="linear", final_rate=0.0)
    assert [rate_fraction(stage, step, 1) for step in range(11)] == pytest.approx([1 - step / 10 for step in range(11)])
