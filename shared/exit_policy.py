"""Decides from confidences whether to stop. Pure, and the same on the edge and in calibration.

The three measures are those of the early-exit literature: maximum probability, the margin between the two largest, and
normalised entropy (DT-SNN and SEENN for spiking networks). Each is turned so that 1 is certain, 0 is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from shared.errors import ConfigError

Measure = Literal["max_probability", "margin", "entropy"]

NEVER: Final = "never"
Threshold = float | Literal["never"]
"""The certainty, in 0..1, from which on a sample stops; "never": it runs to timestep T, however certain it is."""


@dataclass(frozen=True)
class ExitPolicy:
    """Stop at the first timestep whose certainty reaches `threshold`, or never.

    1 is not never: the softmax is float32, and is exactly 1 for a class that leads by some 17 temperatures.

    Attributes:
        measure: how certainty is read from the confidences.
        threshold: the certainty, in 0..1, from which on a sample stops, or "never".
    """

    measure: Measure = "max_probability"
    threshold: Threshold = 0.9

    def __post_init__(self) -> None:
        if self.measure not in get_args(Measure):
            raise ConfigError(f"exit measure is {self.measure!r}: one of {', '.join(get_args(Measure))}")
        if self.threshold != NEVER and not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"exit threshold is {self.threshold}: it must lie in 0..1, or be {NEVER!r}")

    @property
    def confidences_needed(self) -> int:
        """How many of the largest confidences decide; 0: all. Where none decides, the largest is the answer's."""
        if self.threshold == NEVER:
            return 1
        return {"max_probability": 1, "margin": 2, "entropy": 0}[self.measure]

    def confidences_asked(self, top_k: int) -> int:
        """How many of the largest confidences answers must carry to decide and to name the `top_k`; 0: all."""
        return self.confidences_needed and max(self.confidences_needed, top_k)

    def should_stop(self, confidences: Sequence[float]) -> bool:
        """Whether these confidences, of all classes or of the largest ones, are certain enough."""
        return self.threshold != NEVER and certainty(self.measure, confidences) >= self.threshold

    def __str__(self) -> str:
        return NEVER if self.threshold == NEVER else f"{self.measure} >= {self.threshold:g}"


def certainty(measure: Measure, confidences: Sequence[float]) -> float:
    """How certain a distribution over at least two classes is by `measure`, in 0..1.

    max_probability: max p;  margin: max p - second p;  entropy: 1 - H(p) / log(classes). The first two need only the
        one or two largest probabilities.
    """
    if measure == "max_probability":
        return max(confidences)
    if measure == "margin":
        second, first = sorted(confidences)[-2:]
        return first - second
    entropy = -sum(p * math.log(p) for p in confidences if p > 0.0)
    return max(0.0, 1.0 - entropy / math.log(len(confidences)))
