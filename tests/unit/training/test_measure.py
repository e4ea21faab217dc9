"""Which execution is the default, and what a manifest keeps of a measurement."""

from __future__ import annotations

from typing import Any

import pytest

from shared.exit_policy import ExitPolicy
from shared.manifest import ExecutionSpec
from training.calibrate import Calibration
from training.measure import better, execution_spec, known_calibration

POLICY = ExitPolicy("margin", 0.4)


def calibration(accuracy: float = 0.9, mean_timesteps: float = 1.5, **changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "temperature": 0.7,
        "policy": POLICY,
        "budget": 0.01,
        "failure": 0.2,
        "samples": 100,
        "mean_timesteps": mean_timesteps,
        "accuracy": accuracy,
        "full_accuracy": 0.95,
        "promise": None,
    }
    return Calibration(**{**values, **changes})


@pytest.mark.parametrize(
    ("rate", "spiking", "default"),
    [
        ((0.91, 4.0), (0.90, 1.0), "rate"),
        ((0.90, 1.0), (0.91, 4.0), "spiking"),
        ((0.90, 1.2), (0.90, 1.3), "rate"),
        ((0.90, 1.3), (0.90, 1.2), "spiking"),
    ],
)
def test_the_default_is_right_more_often_and_of_equals_exits_earlier(
    rate: tuple[float, float], spiking: tuple[float, float], default: str
) -> None:
    assert better({"rate": calibration(*rate), "spiking": calibration(*spiking)}) == default


def test_a_manifest_keeps_what_runs_and_what_was_measured() -> None:
    evaluation = {"samples": 7, "accuracy_by_timestep": [0.5], "layers": ["long"], "operations": ["long"]}
    spec = execution_spec(calibration(readout_leak=0.25), evaluation)
    assert spec == ExecutionSpec(
        temperature=0.7,
        exit_policy=POLICY,
        readout_leak=0.25,
        measured={
            "calibration": {
                "temperature": 0.7,
                "budget": 0.01,
                "failure": 0.2,
                "samples": 100,
                "mean_timesteps": 1.5,
                "accuracy": 0.9,
                "full_accuracy": 0.95,
                "promise": None,
                "readout_leak": 0.25,
            },
            "test": {"samples": 7, "accuracy_by_timestep": [0.5]},
        },
    )
    assert "test" not in execution_spec(calibration(), {}).measured


def test_a_calibration_is_repeated_as_it_was_or_with_another_budget() -> None:
    settings = execution_spec(calibration(), {})
    again = known_calibration(settings, None)
    assert (again.budget, again.failure, again.measure) == (0.01, 0.2, "margin")
    assert known_calibration(settings, 0.05).budget == 0.05
    assert known_calibration(ExecutionSpec(1.0, POLICY), None).measure == "margin"
