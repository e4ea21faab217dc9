from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.testbed.samples_file import SAMPLES, columns_of, read_testbed, write_samples
from benchmarks.testbed.schema import Columns, MeasuredNetwork, to_results
from shared.errors import ConfigError
from tests.unit.benchmarks.testbed.made import made_columns, made_testbed


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    made = made_testbed()
    write_samples(made, tmp_path)
    read = read_testbed(json.loads(json.dumps(to_results(made))), tmp_path)
    assert to_results(read) == to_results(made)
    run = read.run("full")
    assert run is not None
    for each in fields(Columns):
        np.testing.assert_array_equal(
            getattr(read.columns[run.key], each.name), getattr(made.columns[run.key], each.name)
        )
    (trace,) = read.traces
    assert (trace.sample, trace.label) == (0, 3)
    np.testing.assert_array_equal(trace.spikes, made.traces[0].spikes)


def test_samples_that_are_missing_or_of_another_record_are_named(tmp_path: Path) -> None:
    results = to_results(made_testbed())
    with pytest.raises(ConfigError, match=SAMPLES):
        read_testbed(results, tmp_path)
    np.savez_compressed(tmp_path / SAMPLES, something=np.zeros(3))
    with pytest.raises(ConfigError, match="does not belong to its record"):
        read_testbed(results, tmp_path)


def test_what_a_row_lacks_is_not_known() -> None:
    columns = columns_of([{"sample": 3, "confidence": [0.5]}], 4)
    assert len(columns) == 1
    assert np.isnan(columns.latency_ms[0])
    assert columns.timesteps[0] == 0
    np.testing.assert_array_equal(np.isnan(columns.confidence[0]), [False, True, True, True])


def test_additions_are_dense_operations_times_the_rate_of_their_inputs() -> None:
    network: MeasuredNetwork = made_testbed().networks["bottleneck"]
    assert network.edge_macs == 1000.0
    assert network.accumulates("edge") == 200.0
    assert network.accumulates("cloud") == 0.0


def test_a_drop_is_of_the_pictures_that_both_were_given() -> None:
    made = made_testbed(8)
    pair = made.runs[0]
    whole = replace(pair, alternative="edge-only", n=3)
    # The first three pictures: the pair is wrong about the first, the whole network about none.
    few = made_columns(3, 4)
    right = replace(few, predicted=few.label)
    both = replace(made, runs=(pair, whole), columns={**made.columns, whole.key: right})
    lost = both.drop(whole, pair)
    assert lost is not None
    assert (lost.points, lost.n) == (pytest.approx(100 / 3), 3)
    spread = 196 * (2 / 9 / 3) ** 0.5  # of one picture in three
    assert [lost.low, lost.high] == pytest.approx([100 / 3 - spread, 100 / 3 + spread], rel=1e-3)
    assert both.drop(None, pair) is None
