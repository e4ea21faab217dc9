"""Flags that cannot be meant are refused, with the flag's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_client.config import EdgeConfig, InputConfig, OutputConfig
from shared.errors import ConfigError
from shared.exit_policy import ExitPolicy


def config(**changes: Any) -> EdgeConfig:
    return EdgeConfig(Path("b"), ("127.0.0.1", 1), InputConfig(dataset="digits"), **changes)


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [
        ("connect_deadline_s", 0.0, "--deadline"),
        ("sample_deadline_s", float("nan"), "--sample-deadline"),
        ("lookahead", 0, "--lookahead"),
        ("threads", 0, "--threads"),
    ],
)
def test_values_out_of_range(field: str, value: float, flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        config(**{field: value})


def test_what_is_not_overridden_is_the_bundles() -> None:
    calibrated = ExitPolicy("margin", 0.7)
    assert config().exit_policy(calibrated) == calibrated
    assert config(threshold=0.0).exit_policy(calibrated) == ExitPolicy("margin", 0.0)
    assert config(measure="entropy").exit_policy(calibrated) == ExitPolicy("entropy", 0.7)
    with pytest.raises(ConfigError, match="threshold"):
        config(threshold=1.5).exit_policy(calibrated)


def test_a_summary_that_could_not_be_written_is_refused_at_once(tmp_path: Path) -> None:
    OutputConfig(summary_file=tmp_path / "summary.json")
    for wrong in (tmp_path, tmp_path / "missing" / "summary.json"):
        with pytest.raises(ConfigError, match="--summary-file"):
            OutputConfig(summary_file=wrong)
