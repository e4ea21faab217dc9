"""Lanes: one for each execution of a bundle, each under a name of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud_server.config import CloudConfig
from cloud_server.engine.loaded_bundle import lane_key, lane_names, load_lane
from cloud_server.tails.frame_sums import FrameSums
from cloud_server.tails.membranes import Membranes
from shared.bundle import Bundle, write_codec, write_parts
from shared.execution import EXECUTIONS
from shared.messages import Codec
from tests.support.bundles import make_bundle
from tests.support.codec_tables import make_tables


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "one")


@pytest.fixture
def namesake(bundle: Bundle, tmp_path: Path) -> Bundle:
    """Another bundle of the same name."""
    other = make_bundle(tmp_path / "other", seed=1)
    return write_parts(other, replace(other.manifest, name=bundle.manifest.name), {})


def test_the_default_execution_has_the_bundles_name(bundle: Bundle) -> None:
    name = bundle.manifest.name
    assert lane_names([bundle]) == [name]
    assert lane_names([bundle.run_as("rate")]) == [f"{name}-rate"]
    assert lane_names([bundle, bundle.run_as("rate")]) == [name, f"{name}-rate"]
    turned = write_parts(bundle, replace(bundle.manifest, default_execution="rate"), {})
    assert lane_names([turned.run_as("rate"), turned.run_as("spiking")]) == [name, f"{name}-spiking"]


def test_bundles_of_one_name_are_told_apart_by_their_fingerprints(bundle: Bundle, namesake: Bundle) -> None:
    name = bundle.manifest.name
    ours, theirs = (f"{name}-{one.fingerprint.hex()[:8]}" for one in (bundle, namesake))
    assert lane_names([bundle, namesake]) == [ours, theirs]
    assert lane_names([bundle, bundle.run_as("rate"), namesake]) == [ours, f"{ours}-rate", theirs]
    assert lane_names([namesake], [name]) == [theirs], "that name is still somebody's"
    assert lane_names([namesake], ["another"]) == [name]


def test_each_execution_is_a_lane_of_its_own(bundle: Bundle) -> None:
    shape = bundle.manifest.frame_shape
    written = write_codec(bundle.run_as("rate"), make_tables(shape).arrays())
    config = CloudConfig((bundle.path,), slots=3)
    lanes = {execution: load_lane(written.run_as(execution), "b", config) for execution in EXECUTIONS}
    assert len({lane.key for lane in lanes.values()}) == 2
    for execution, lane in lanes.items():
        assert lane.key == lane_key(written.run_as(execution)) == (written.fingerprint, execution)
        assert lane.slots.count == 3
    assert isinstance(lanes["rate"].slots, FrameSums)
    assert isinstance(lanes["spiking"].slots, Membranes)
    assert 10 * lanes["rate"].slots.bytes_per_row < lanes["spiking"].slots.bytes_per_row
    empty = np.zeros(shape, np.uint8)
    assert lanes["rate"].codec.encode(empty)[0] is Codec.RANGE, "these have tables"
    assert lanes["spiking"].codec.encode(empty)[0] is Codec.SPARSE
