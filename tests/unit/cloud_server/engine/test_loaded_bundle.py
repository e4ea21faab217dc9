"""Loaded bundles: one for each execution of a bundle, each under a name of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud_server.config import CloudConfig
from cloud_server.engine.loaded_bundle import bundle_key, bundle_names, load_bundle
from cloud_server.tails.frame_sums import FrameSumSlots
from cloud_server.tails.membranes import MembraneSlots
from shared.bundle import Bundle
from shared.bundle_writer import write_codec, write_parts
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
    assert bundle_names([bundle]) == [name]
    assert bundle_names([bundle.run_as("rate")]) == [f"{name}-rate"]
    assert bundle_names([bundle, bundle.run_as("rate")]) == [name, f"{name}-rate"]
    turned = write_parts(bundle, replace(bundle.manifest, default_execution="rate"), {})
    assert bundle_names([turned.run_as("rate"), turned.run_as("spiking")]) == [name, f"{name}-spiking"]


def test_bundles_of_one_name_are_told_apart_by_their_fingerprints(bundle: Bundle, namesake: Bundle) -> None:
    name = bundle.manifest.name
    ours, theirs = (f"{name}-{one.fingerprint.hex()[:8]}" for one in (bundle, namesake))
    assert bundle_names([bundle, namesake]) == [ours, theirs]
    assert bundle_names([bundle, bundle.run_as("rate"), namesake]) == [ours, f"{ours}-rate", theirs]
    assert bundle_names([namesake], [name]) == [theirs], "that name is still somebody's"
    assert bundle_names([namesake], ["another"]) == [name]


def test_each_execution_is_a_lane_of_its_own(bundle: Bundle) -> None:
    shape = bundle.manifest.frame_shape
    written = write_codec(bundle.run_as("rate"), make_tables(shape).arrays())
    config = CloudConfig((bundle.path,), slots=3)
    loaded = {execution: load_bundle(written.run_as(execution), "b", config) for execution in EXECUTIONS}
    assert len({one.key for one in loaded.values()}) == 2
    for execution, one in loaded.items():
        assert one.key == bundle_key(written.run_as(execution)) == (written.fingerprint, execution)
        assert one.slots.count == 3
    assert isinstance(loaded["rate"].slots, FrameSumSlots)
    assert isinstance(loaded["spiking"].slots, MembraneSlots)
    assert 10 * loaded["rate"].slots.bytes_per_row < loaded["spiking"].slots.bytes_per_row
    empty = np.zeros(shape, np.uint8)
    assert loaded["rate"].codec.encode(empty)[0] is Codec.RANGE, "these have tables"
    assert loaded["spiking"].codec.encode(empty)[0] is Codec.SPARSE
