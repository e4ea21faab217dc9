from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from shared.bundle import Bundle
from tests.support.bundles import make_bundle
from training.report import tell_bundle, tell_commands


def measured(bundle: Bundle, local: float, cloud: float) -> Bundle:
    """The bundle as if its local exit and its cloud had been measured on 24 samples."""
    test = {"samples": 24, "accuracy_by_timestep": [1.0, local], "cloud_accuracy_full_t": cloud}
    settings = replace(bundle.settings, measured={"local_exit": {"test": test}})
    return replace(bundle, manifest=bundle.manifest.with_execution(bundle.execution, settings))


@pytest.mark.parametrize(("local", "cloud", "warned"), [(0.9, 0.8, True), (0.8, 0.8, False), (0.7, 0.8, False)])
def test_a_local_exit_that_beats_its_cloud_is_warned_of(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    local: float,
    cloud: float,
    warned: bool,
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    tell_bundle(measured(bundle, local, cloud))
    assert bundle.fingerprint.hex()[:16] in capsys.readouterr().out
    assert [record.levelname for record in caplog.records] == (["WARNING"] if warned else [])
    if warned:
        assert (
            "the edge's local exit is right for 90.0 % of 24 test samples, the cloud for 80.0 %" in caplog.messages[0]
        )


def test_a_bundle_without_a_local_exit_is_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tell_bundle(make_bundle(tmp_path / "bundle"))
    assert not caplog.records


def test_the_commands_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    tell_commands(Path("models/my pets"), ["--images", "my pets/cat/1.png"])
    _, cloud, edge = capsys.readouterr().out.splitlines()
    assert shlex.split(cloud)[:3] == ["neucodex-cloud", "--bundle", "models/my pets"]
    assert shlex.split(edge)[-2:] == ["--images", "my pets/cat/1.png"]
