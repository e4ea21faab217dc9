"""Flags that cannot be meant are refused, with the flag's name."""

from __future__ import annotations

import math
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from edge_client.config import EdgeConfig, EdgeOptions
from edge_client.inference.link_loss import LinkLossPolicy
from edge_client.output_config import OutputConfig
from neucodex import Edge, EdgeSync
from shared.errors import ConfigError
from shared.exit_policy import ExitPolicy


def config(**changes: Any) -> EdgeConfig:
    values = {"clouds": (("127.0.0.1", 1),), **changes}
    return EdgeConfig(Path("b"), **values)


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [
        ("connect_deadline_s", 0.0, "--deadline"),
        ("sample_deadline_s", float("nan"), "--sample-deadline"),
        ("lookahead", 0, "--lookahead"),
        ("threads", 0, "--threads"),
        ("in_flight", 0, "--inflight"),
        ("clouds", (), "--cloud"),
        ("byte_price_us", -1.0, "--byte-price-us"),
        ("fallback_after_s", float("inf"), "--fallback-after"),
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


def test_what_becomes_of_samples_without_a_cloud() -> None:
    assert config().link_loss == LinkLossPolicy("wait", math.inf)
    assert config(on_loss="fallback", fallback_after_s=0.2).link_loss == LinkLossPolicy("fallback", 0.2)
    assert config(on_loss="fail", connect_deadline_s=3.0).link_loss == LinkLossPolicy("fail", 3.0)
    # Who says nothing is told of a wrong address at once; who says wait means it.
    assert [config(on_loss=on_loss).needs_cloud_to_start for on_loss in (None, "fail", "wait", "fallback")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_an_edge_names_every_option_in_its_signature() -> None:
    parameters = signature(Edge).parameters
    assert list(parameters)[:2] == ["bundle", "cloud"]
    assert {field.name for field in fields(EdgeOptions)} <= set(parameters)
    assert list(signature(EdgeSync).parameters) == list(parameters)
    assert parameters["threshold"].default is None
    assert parameters["in_flight"].default == 8
