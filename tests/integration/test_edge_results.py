"""Results survive: a run that is killed, again and again, is gone on with; every sample has one verdict."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.bundle import Bundle
from tests.support.bundles import make_bundle
from tests.support.edges import edge_process, rename_classes, run_edge
from tests.support.graphs import with_tail_step
from tests.support.processes import CloudProcess, cloud_process, wait_for

SAMPLES = 120


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return with_tail_step(
        rename_classes(make_bundle(tmp_path_factory.mktemp("bundle"), threshold=0.5), tuple("0123456789"))
    )


@pytest.fixture(scope="module")
def cloud(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    with cloud_process(tmp_path_factory.mktemp("cloud"), [bundle.path]) as running:
        yield running


def flags(bundle: Bundle, cloud: CloudProcess, out: Path) -> list[str]:
    return [
        "--bundle", str(bundle.path), "--cloud", cloud.listen, "--dataset", "digits", "--limit", str(SAMPLES),
        "--out", str(out), "--resume",
    ]  # fmt: skip


def verdicts(path: Path) -> list[dict[str, object]]:
    """The whole lines after the first."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True)[1:] if line.endswith(b"\n")]


def test_a_run_killed_again_and_again_has_every_verdict_once(
    bundle: Bundle, cloud: CloudProcess, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert run_edge(*flags(bundle, cloud, whole)).code == 0
    for enough in (20, 50):
        with edge_process(*flags(bundle, cloud, out), "--inflight", "4") as edge:
            wait_for(lambda: len(verdicts(out)) >= enough, "some verdicts")  # noqa: B023
            edge.send_signal(signal.SIGKILL)
        # A kill in the middle of a write: half a line.
        with out.open("ab") as file:
            file.write(b'{"sample": "digits/te')
    before = len(verdicts(out))
    run = run_edge(*flags(bundle, cloud, out), "--json")
    assert run.code == 0, run.err
    assert "the last line was torn" in run.err
    assert len(run.lines) == SAMPLES - before
    answers = [[(line["sample"], line["prediction"], line["timesteps"]) for line in verdicts(p)] for p in (whole, out)]
    assert answers[0] == answers[1]
    assert [name for name, *_ in answers[1]] == [f"digits/test/{number}" for number in range(SAMPLES)]
    again = run_edge(*flags(bundle, cloud, out), "--json")
    assert (again.code, again.out) == (0, "")


def test_ctrl_c_says_how_many_of_how_many_and_the_rest_follows(
    bundle: Bundle, cloud: CloudProcess, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    done = 0
    for enough in (10, 40):
        with edge_process(*flags(bundle, cloud, out)) as edge:
            wait_for(lambda: len(verdicts(out)) >= enough, "some verdicts")  # noqa: B023
            edge.send_signal(signal.SIGINT)
            _, err = edge.communicate()
        assert edge.returncode == 130
        done = len(verdicts(out))
        assert f"interrupted: {done} of {SAMPLES} samples done" in err
    assert run_edge(*flags(bundle, cloud, out)).code == 0
    assert len(verdicts(out)) == SAMPLES


def test_another_runs_file_is_refused(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    given = ["--bundle", str(bundle.path), "--cloud", cloud.listen, "--dataset", "digits", "--out", str(out)]
    assert run_edge(*given, "--limit", "3").code == 0
    # Fewer or more samples of the same source are no other run.
    assert run_edge(*given, "--limit", "5", "--resume").code == 0
    assert len(verdicts(out)) == 5
    run = run_edge(*given, "--resume", "--threshold", "0.25")
    assert (run.code, len(run.err.splitlines())) == (2, 1), run.err
    assert "threshold is 0.5 there and 0.25 here" in run.err
