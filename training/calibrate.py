"""Chooses the temperature and the exit threshold on held-out data, with a statistical guarantee.

The threshold is chosen by Learn-then-Test (Angelopoulos et al., "Learn then Test: Calibrating Predictive Algorithms to
Achieve Risk Control", 2021): thresholds are tried from the most careful to the boldest; each is a hypothesis "this one
costs more than the budget", tested at level `failure`; the first that cannot be rejected ends the search. The risk is
the share of samples that the network gets right at full T and wrong at their exit. It is at least the accuracy that
early exit costs, and a mean of zeros and ones, so the test is the exact binomial one.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import binom
from torch import Tensor

from shared.exit_policy import NEVER, ExitPolicy, Measure, Threshold
from training.executed import running_answers

Float64Array = NDArray[np.float64]

TEMPERATURE_SHARE = 0.2
"""Share of the held-out samples that the temperature is fitted on; the others choose the threshold, so that the
guarantee holds."""

LEAST_FOR_TEMPERATURE = 30
"""Samples below which temperature and leak are not fitted: of a few that are all right the best temperature is 0."""

TEMPERATURES = (0.25, 4.0)
"""The range of a fitted temperature; networks so far had 0.5 to 0.9."""

LEAKS = tuple(round(0.05 * step, 2) for step in range(20, -1, -1))
"""Candidates for the readout's leak, the mean first: an equal one is not worth a change."""

LEAK_DIGITS = 6
"""Decimals of a cross-entropy in nats when two leaks are compared; smaller differences are rounding."""

GRID = np.round(np.concatenate([np.arange(1.0, 0.98, -0.001), np.arange(0.98, 0.0, -0.005)]), 4)
"""Thresholds in the order in which they are tested, the most careful first."""


@dataclass(frozen=True)
class Calibration:
    """The values that the bundle stores, and their results on the held-out samples.

    `promise` is None when even the most careful threshold could not be certified: then the policy never exits early,
    and more held-out samples or a larger budget are needed.
    """

    temperature: float
    policy: ExitPolicy
    budget: float
    failure: float
    samples: int
    mean_timesteps: float
    accuracy: float
    full_accuracy: float
    promise: str | None
    readout_leak: float = 1.0


def calibrate(
    logits: Float64Array, labels: NDArray[np.int64], measure: Measure, budget: float, failure: float
) -> Calibration:
    """Choose temperature and threshold.

    Args:
        logits: from which the answers are read, [T, N, K], of held-out samples on which no weight was trained.
        labels: [N].
        measure: of certainty.
        budget: accuracy that early exit may cost, 0.005 for half a point.
        failure: probability, over the draw of the held-out samples, that it costs more.
    """
    cut = for_temperature(len(labels))
    temperature = fit_temperature(logits[:, :cut], labels[:cut])
    probabilities = cloud_confidences(logits[:, cut:], temperature)
    rest = labels[cut:]
    certain = certainties(measure, probabilities)
    right = probabilities.argmax(-1) == rest
    threshold = choose_threshold(certain, right, budget, failure)
    policy = ExitPolicy(measure, NEVER if threshold is None else threshold)
    steps = exit_timesteps(certain, policy.threshold)
    promise = None
    if threshold is not None:
        promise = (
            f"with probability at least {1 - failure:g} over the draw of {len(rest)} held-out samples, "
            f"early exit turns at most {budget:.2%} of samples from right to wrong"
        )
    return Calibration(
        temperature=temperature,
        policy=policy,
        budget=budget,
        failure=failure,
        samples=len(rest),
        mean_timesteps=float(steps.mean()),
        accuracy=float(right[steps - 1, np.arange(len(rest))].mean()),
        full_accuracy=float(right[-1].mean()),
        promise=promise,
    )


def fit_leak(logits: Tensor, labels: NDArray[np.int64]) -> float:
    """Choose the readout's leak from `LEAKS`: the weight of a timestep's logits relative to the next timestep's.

    It minimises the cross-entropy over all timesteps, each leak at its own best temperature, on the samples that the
    temperature is fitted on; it is 1 for fewer of them than `LEAST_FOR_TEMPERATURE`.

    Args:
        logits: of each timestep by itself, [T, N, K], of held-out samples, on the CPU.
        labels: [N].
    """
    cut = for_temperature(len(labels))
    if cut < LEAST_FOR_TEMPERATURE:
        return LEAKS[0]
    steps, known = logits[:, :cut], labels[:cut]
    answers = {leak: running_answers(steps, leak).numpy() for leak in LEAKS}

    def loss(leak: float) -> float:
        return round(cross_entropy(answers[leak], known, fit_temperature(answers[leak], known)), LEAK_DIGITS)

    return min(LEAKS, key=loss)


def least_held_out(budget: float, failure: float) -> int:
    """The number of held-out samples below which no threshold can be certified: n samples without a loss have a
    probability of (1 - budget)^n."""
    choosing = math.ceil(math.log(failure) / math.log1p(-budget))
    return next(count for count in itertools.count(choosing) if count - for_temperature(count) >= choosing)


def for_temperature(held_out: int) -> int:
    """How many of the first held-out samples the temperature is fitted on; the others choose the threshold."""
    return max(1, int(held_out * TEMPERATURE_SHARE))


def fit_temperature(logits: Float64Array, labels: NDArray[np.int64]) -> float:
    """The temperature that minimises the cross-entropy over all timesteps (Guo et al., "On Calibration of Modern Neural
    Networks", ICML 2017) within `TEMPERATURES`, rounded to four digits; 1 for fewer samples than
    `LEAST_FOR_TEMPERATURE`."""
    if len(labels) < LEAST_FOR_TEMPERATURE:
        return 1.0

    def loss(log_temperature: float) -> float:
        return cross_entropy(logits, labels, float(np.exp(log_temperature)))

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return round(float(np.exp(found.x)), 4)


def cross_entropy(logits: Float64Array, labels: NDArray[np.int64], temperature: float) -> float:
    """Mean cross-entropy over all timesteps and samples, in nats, of logits [T, N, K] and labels [N]."""
    scores = log_softmax(logits / temperature, axis=-1)
    return float(-np.take_along_axis(scores, labels[None, :, None], -1).mean())


def cloud_confidences(logits: Float64Array, temperature: float) -> Float64Array:
    """Softmax over the last axis in float32, as the cloud computes it and sends it.

    There a lead of 16.6 temperatures over all other logits is 1 exactly, and passes a threshold of 1; in float64 it is
    not.
    """
    confidences: NDArray[np.float32] = softmax(logits.astype(np.float32) / temperature, axis=-1)
    return confidences.astype(np.float64)


def certainties(measure: Measure, probabilities: Float64Array) -> Float64Array:
    """`shared.exit_policy.certainty` for arrays: [..., K] -> [...]."""
    if measure == "max_probability":
        return np.asarray(probabilities.max(-1))
    if measure == "margin":
        ordered = np.sort(probabilities, axis=-1)
        return np.asarray(ordered[..., -1] - ordered[..., -2])
    logs = np.log(np.where(probabilities > 0.0, probabilities, 1.0))
    return np.asarray(np.maximum(0.0, 1.0 + (probabilities * logs).sum(-1) / np.log(probabilities.shape[-1])))


def choose_threshold(certain: Float64Array, right: NDArray[np.bool_], budget: float, failure: float) -> float | None:
    """The lowest threshold that fixed-sequence testing certifies, or None.

    Args:
        certain: certainty [T, N].
        right: whether the prediction is right, [T, N].
        budget: the risk allowed.
        failure: the level of each test; in fixed sequence it is also that of the whole search.
    """
    samples = np.arange(certain.shape[1])
    losses = np.arange(len(samples) + 1)
    # The fewest lost samples with which a test no longer rejects "this threshold costs more than the budget".
    too_many = int(np.count_nonzero(binom.cdf(losses, len(samples), budget) <= failure))
    chosen = None
    for threshold in GRID:
        steps = exit_timesteps(certain, float(threshold))
        lost = int((right[-1] & ~right[steps - 1, samples]).sum())
        if lost >= too_many:
            break
        chosen = float(threshold)
    return chosen


def reaches(certain: Float64Array, threshold: Threshold) -> NDArray[np.bool_]:
    """Whether the certainty reaches the threshold: [...] -> [...]."""
    return np.zeros(certain.shape, bool) if threshold == NEVER else np.asarray(certain >= threshold)


def exit_timesteps(certain: Float64Array, threshold: Threshold) -> NDArray[np.int64]:
    """The first timestep (1..T) at which the certainty [T, N] reaches the threshold, T if none does: [N]."""
    passed = reaches(certain, threshold)
    passed[-1] = True
    return np.asarray(passed.argmax(0) + 1, np.int64)
