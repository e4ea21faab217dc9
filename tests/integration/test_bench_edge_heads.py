"""The edge benchmark's rows for heads and start-up, on the bundle that ships: they run, and measure what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.edge import heads, start_up
from benchmarks.edge.base import Setup

DIGITS = Path(__file__).parents[2] / "models/resnet18-digits"


@pytest.fixture
def rig(tmp_path: Path) -> Setup:
    return Setup(DIGITS, "digits", None, tmp_path, quick=True)


def test_every_head_gives_the_same_spikes_but_the_quantised_one(rig: Setup) -> None:
    part = heads.measure(rig)
    ms = part.results["ms per step, median and quartiles"]
    assert {heads.PLAIN, heads.OURS, heads.INT8, "torch, inference form"} <= ms.keys()
    assert part.results["not measured"].keys() == {heads.COMPILED}
    worth = part.results["spikes and answers"]
    assert {row["spikes that differ"] for name, row in worth.items() if name != heads.INT8} == {0.0}
    assert 0.0 < worth[heads.INT8]["spikes that differ"] < 0.08
    assert all(row["accuracy at full T"] >= 0.9 for row in worth.values())
    assert [target.measured is not None for target in part.targets] == [True, True]


def test_an_edge_without_torch_is_smaller_than_one_with_it(rig: Setup) -> None:
    part = start_up.measure(rig)
    peak = part.results["MiB resident at most, all"]
    assert peak["onnx"][0] < peak["torch"][0]
    assert [len(seconds) for seconds in part.results["seconds from process start to first verdict, all"].values()] == [
        1, 1, 1,
    ]  # fmt: skip
