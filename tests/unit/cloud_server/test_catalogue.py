"""Which bundles are served, and in which executions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloud_server.catalogue import MESSAGE_SLACK, longest_message, read_bundles
from cloud_server.config import CloudConfig
from shared.bundle import Bundle
from shared.bundle_writer import write_parts
from shared.errors import BundleError, ConfigError
from shared.execution import Execution
from tests.support.bundles import make_bundle


@pytest.fixture
def both(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "both")


@pytest.fixture
def stepping(tmp_path: Path) -> Bundle:
    """A bundle that can only step."""
    return make_bundle(tmp_path / "stepping", bottleneck=None, seed=1)


def served(*bundles: Bundle, **given: Any) -> list[tuple[Path, Execution]]:
    found = read_bundles(CloudConfig(tuple(bundle.path for bundle in bundles), **given))
    return [(bundle.path, bundle.execution) for bundle in found]


def test_a_bundle_is_served_in_its_default(both: Bundle, stepping: Bundle) -> None:
    assert served(both, stepping) == [(both.path, "spiking"), (stepping.path, "spiking")]
    write_parts(both, replace(both.manifest, default_execution="rate"), {})
    assert served(both, stepping) == [(both.path, "rate"), (stepping.path, "spiking")]


@pytest.mark.parametrize("execution", ["rate", "spiking"])
def test_or_in_the_one_that_is_asked_for(both: Bundle, execution: Execution) -> None:
    assert served(both, execution=execution) == [(both.path, execution)]


def test_or_in_all_that_it_has_its_default_first(both: Bundle, stepping: Bundle) -> None:
    assert served(both, stepping, execution="all") == [
        (both.path, "spiking"), (both.path, "rate"), (stepping.path, "spiking"),
    ]  # fmt: skip
    write_parts(both, replace(both.manifest, default_execution="rate"), {})
    assert served(both, execution="all") == [(both.path, "rate"), (both.path, "spiking")]


def test_one_that_cannot_be_served_so_is_named(both: Bundle, stepping: Bundle) -> None:
    with pytest.raises(ConfigError, match=rf"bundle {stepping.path} has no execution 'rate', only spiking"):
        served(both, stepping, execution="rate")


def test_a_bundle_that_is_there_twice_is_named_once_for_all_its_executions(both: Bundle, tmp_path: Path) -> None:
    twin = Path(shutil.copytree(both.path, tmp_path / "twin"))
    config = CloudConfig((both.path, twin), execution="all")
    with pytest.raises(ConfigError, match=f"more than once: {both.path}, {twin}"):
        read_bundles(config)


def test_a_folder_of_bundles(both: Bundle, stepping: Bundle, tmp_path: Path) -> None:
    (tmp_path / "no bundle").mkdir()
    found = read_bundles(CloudConfig(bundles_dir=tmp_path, execution="all"))
    assert [(bundle.path.name, bundle.execution) for bundle in found] == [
        ("both", "spiking"), ("both", "rate"), ("stepping", "spiking"),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="no subfolder with a manifest"):
        read_bundles(CloudConfig(bundles_dir=tmp_path / "no bundle"))
    (stepping.path / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="stepping"):
        read_bundles(CloudConfig(bundles_dir=tmp_path))


def test_the_longest_message_is_that_of_the_largest_frame(both: Bundle, stepping: Bundle) -> None:
    small, large = longest_message([both]), longest_message([both, both.run_as("rate"), stepping])
    assert MESSAGE_SLACK < small < large == longest_message([stepping])
