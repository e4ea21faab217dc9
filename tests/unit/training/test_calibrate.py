import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.exit_policy import NEVER, certainty
from training.calibrate import (
    LEAST_FOR_TEMPERATURE,
    TEMPERATURES,
    calibrate,
    certainties,
    choose_threshold,
    cloud_confidences,
    exit_timesteps,
    fit_leak,
    fit_temperature,
    least_held_out,
)

CLASSES = 5


def population(samples: int, seed: int, timesteps: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Running means of logits whose noise falls over the timesteps, as a network's do: [T, N, K], labels [N]."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, samples)
    signal = np.eye(CLASSES)[labels] * random.gamma(4.0, 0.6, (samples, 1))
    noise = random.normal(size=(timesteps, samples, CLASSES)).cumsum(0) / np.arange(1, timesteps + 1)[:, None, None]
    return signal + 0.8 * noise, labels


def test_the_promise_is_kept() -> None:
    """The share of held-out draws for which early exit costs more than the budget is at most the stated one."""
    budget, failure, draws = 0.02, 0.2, 300
    logits, labels = population(50_000, seed=0)
    certain = certainties("max_probability", cloud_confidences(logits, 1.0))
    right = logits.argmax(-1) == labels
    everyone = np.arange(len(labels))
    true_risk: dict[float, float] = {}
    random = np.random.default_rng(1)
    broken = chosen = 0
    for _ in range(draws):
        drawn = random.choice(len(labels), 400, replace=False)
        threshold = choose_threshold(certain[:, drawn].copy(), right[:, drawn], budget, failure)
        if threshold is None:
            continue
        chosen += 1
        if threshold not in true_risk:
            steps = exit_timesteps(certain.copy(), threshold)
            true_risk[threshold] = float((right[-1] & ~right[steps - 1, everyone]).mean())
        broken += true_risk[threshold] > budget
    assert chosen > 0.9 * draws
    # Three standard errors above the stated probability; and the search is not so careful as to be useless.
    assert broken / draws <= failure + 3 * (failure * (1 - failure) / draws) ** 0.5
    assert broken > 0


def test_it_exits_early_within_the_budget() -> None:
    logits, labels = population(5000, seed=2)
    result = calibrate(logits, labels, "max_probability", budget=0.02, failure=0.1)
    assert result.promise is not None
    assert 1.0 < result.mean_timesteps < 4.0
    assert result.full_accuracy - result.accuracy <= 0.02
    assert result.samples == 4000


def test_too_few_samples_promise_nothing() -> None:
    logits, labels = population(20, seed=3)
    result = calibrate(logits, labels, "margin", budget=0.005, failure=0.1)
    assert result.promise is None
    assert result.policy.threshold == NEVER


@pytest.mark.parametrize("measure", ["max_probability", "margin", "entropy"])
def test_what_is_not_certified_never_exits_however_certain(measure: str) -> None:
    labels = np.arange(20) % CLASSES
    logits = np.tile(300.0 * np.eye(CLASSES)[labels], (4, 1, 1))
    assert (certainties(measure, cloud_confidences(logits, 1.0)) == 1.0).all()
    result = calibrate(logits, labels, measure, budget=0.005, failure=0.1)
    assert (result.policy.threshold, result.mean_timesteps) == (NEVER, 4.0)
    assert not result.policy.should_stop([1.0, 0.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize(("count", "fitted"), [(LEAST_FOR_TEMPERATURE - 1, False), (LEAST_FOR_TEMPERATURE, True)])
def test_a_temperature_is_not_fitted_on_a_few_samples(count: int, fitted: bool) -> None:
    logits, labels = population(count, seed=6)
    assert (fit_temperature(3.0 * logits, labels) != 1.0) == fitted


def test_a_leak_is_not_fitted_on_a_few_samples() -> None:
    """Five times as many are held out: a fifth gives the leak."""
    few, many = 5 * LEAST_FOR_TEMPERATURE - 1, 5 * LEAST_FOR_TEMPERATURE
    logits, labels = steps_of(many, noise=(30.0, 3.0, 1.0, 0.3))
    assert fit_leak(logits[:, :few], labels[:few]) == 1.0
    assert fit_leak(logits, labels) < 1.0


def test_a_temperature_stays_in_its_range() -> None:
    logits, labels = population(500, seed=7)
    always_right = 2.0 * np.eye(CLASSES)[labels][np.newaxis]
    assert fit_temperature(always_right, labels) == pytest.approx(TEMPERATURES[0], rel=0.01)
    assert fit_temperature(1000.0 * logits, labels) == pytest.approx(TEMPERATURES[1], rel=0.01)


@pytest.mark.parametrize(("budget", "failure", "least"), [(0.005, 0.1, 574), (0.01, 0.1, 287), (0.3, 0.2, 6)])
def test_the_fewest_samples_that_may_promise_anything_do_if_all_are_right(
    budget: float, failure: float, least: int
) -> None:
    labels = np.arange(least) % CLASSES
    logits = np.tile(30.0 * np.eye(CLASSES)[labels], (4, 1, 1))
    assert least_held_out(budget, failure) == least
    assert calibrate(logits, labels, "margin", budget, failure).promise is not None
    assert calibrate(logits[:, 1:], labels[1:], "margin", budget, failure).promise is None


def test_a_larger_budget_never_exits_later() -> None:
    logits, labels = population(3000, seed=4)
    steps = [calibrate(logits, labels, "entropy", budget, 0.1).mean_timesteps for budget in (0.005, 0.02, 0.1)]
    assert steps == sorted(steps, reverse=True)


@pytest.mark.parametrize("scale", [1.0, 2.0, 8.0])
def test_the_temperature_undoes_a_scale(scale: float) -> None:
    logits, labels = population(5000, seed=5)
    assert fit_temperature(logits * scale, labels) == pytest.approx(scale * fit_temperature(logits, labels), rel=0.02)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.sampled_from(["max_probability", "margin", "entropy"]))
@settings(deadline=None)
def test_arrays_and_the_edges_policy_agree(logits: list[float], measure: str) -> None:
    probabilities = cloud_confidences(np.array(logits), 1.3)
    assert certainties(measure, probabilities) == pytest.approx(certainty(measure, probabilities.tolist()), abs=1e-9)


def test_exit_is_the_first_timestep_that_passes() -> None:
    certain = np.array([[0.2, 0.9, 0.1], [0.8, 0.1, 0.2], [0.9, 0.95, 0.3]])
    assert exit_timesteps(certain, 0.7).tolist() == [2, 1, 3]


def test_certainty_is_the_clouds() -> None:
    """Of two logits ever farther apart, the same are fully certain as where the cloud's operation computes them."""
    temperature = 0.8
    logits = np.stack([np.arange(0.0, 40.0, 0.5), np.zeros(80)], axis=-1)
    cloud = torch.softmax(torch.from_numpy(logits).float() / temperature, dim=-1).double().numpy()
    ours = cloud_confidences(logits, temperature)
    assert np.array_equal(ours.max(-1) >= 1.0, cloud.max(-1) >= 1.0)
    assert 0 < (cloud.max(-1) >= 1.0).sum() < 80
    np.testing.assert_allclose(ours, cloud, rtol=1e-6)


def steps_of(samples: int, noise: tuple[float, ...], seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Logits of each timestep by itself, with noise of these sizes: [T, N, K], labels [N]."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, samples)
    clean = 3.0 * np.eye(CLASSES)[labels]
    return torch.from_numpy(np.stack([clean + size * random.normal(size=(samples, CLASSES)) for size in noise])), labels


@pytest.mark.parametrize("seed", range(3))
def test_timesteps_that_are_equally_good_weigh_the_same(seed: int) -> None:
    logits, labels = steps_of(20_000, (1.0, 1.0, 1.0, 1.0), seed)
    assert fit_leak(logits, labels) >= 0.95


def test_a_leak_that_gains_nothing_is_the_mean() -> None:
    """Every timestep says the same, so every leak reads the same answers."""
    logits, labels = steps_of(200, (1.0,))
    assert fit_leak(logits.expand(4, -1, -1), labels) == 1.0


def test_what_is_worse_in_the_beginning_weighs_less() -> None:
    logits, labels = steps_of(20_000, (6.0, 3.0, 1.5, 0.75))
    leak = fit_leak(logits, labels)
    assert 0.1 <= leak <= 0.5, "a half of the noise is worth four times the weight"


def test_the_leak_is_fitted_on_the_samples_of_the_temperature_alone() -> None:
    logits, labels = steps_of(1000, (6.0, 3.0, 1.5, 0.75))
    spoiled = logits.clone()
    spoiled[:, 200:] = spoiled[:, 200:].flip(0)
    assert fit_leak(spoiled, labels) == fit_leak(logits, labels)
