"""A bundle that cannot be computed with ends an edge and a cloud by exit code 3 and one line, and no reload."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image

from shared.bundle import Bundle
from tests.support.edges import run_edge
from tests.support.hostile import CHANGES, GRAPH_CHANGES
from tests.support.processes import DEADLINE, cloud_process, starting_cloud, wait_for

WITH_GRAPHS = Path(__file__).parents[2] / "models/resnet18-digits"
ALL_CHANGES = {**CHANGES, **GRAPH_CHANGES}


@pytest.fixture(params=list(ALL_CHANGES))
def said(request: pytest.FixtureRequest) -> str:
    said: str = request.param
    return said


@pytest.fixture
def hostile(bundle: Bundle, tmp_path: Path, said: str) -> Path:
    return changed(bundle, tmp_path / "hostile", said)


def changed(bundle: Bundle, folder: Path, said: str) -> Path:
    shutil.copytree(WITH_GRAPHS if said in GRAPH_CHANGES else bundle.path, folder)
    ALL_CHANGES[said](folder)
    return folder


def test_the_edge_refuses_it(hostile: Path, said: str, tmp_path: Path) -> None:
    Image.new("L", (16, 16)).save(tmp_path / "picture.png")
    nobody = ("--cloud", "127.0.0.1:1", "--on-loss", "wait", "--deadline", "0.1")  # the head is opened without one
    runtime = () if said in GRAPH_CHANGES else ("--runtime", "torch")
    run = run_edge("--bundle", str(hostile), *nobody, "--images", str(tmp_path / "picture.png"), *runtime)
    assert (run.code, run.out) == (3, ""), run.err
    assert_refused(run.err, said)


def test_the_cloud_refuses_it(hostile: Path, said: str, tmp_path: Path) -> None:
    with starting_cloud(tmp_path / "cloud", [hostile]) as (cloud, log):
        assert cloud.wait(DEADLINE) == 3, log.read_text()
    assert_refused(log.read_text(), said)


def test_no_reload_takes_one(bundle: Bundle, tmp_path: Path) -> None:
    served = tmp_path / "bundles"
    shutil.copytree(bundle.path, served / "whole")
    with cloud_process(tmp_path / "cloud", [], "--bundles-dir", str(served)) as cloud:
        for number, said in enumerate(ALL_CHANGES, 1):
            folder = changed(bundle, tmp_path / "next", said).rename(served / "hostile")
            cloud.signal(signal.SIGHUP)
            wait_for(lambda n=number: cloud.log.read_text().count("bundles are not reloaded") == n, said)  # type: ignore[misc]
            shutil.rmtree(folder)
        assert "Traceback" not in cloud.log.read_text()
        cloud.signal(signal.SIGTERM)
        assert cloud.wait() == 0


def assert_refused(err: str, said: str) -> None:
    """One line says so, the last."""
    errors = [line for line in err.splitlines() if line.startswith("error: bundle ")]
    assert [*err.splitlines()[-1:]] == errors, err
    assert said in errors[0]
    assert "Traceback" not in err
