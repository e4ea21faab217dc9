"""All measurements of the edge under one record: what fails says so, and the others stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import EDGE_PARTS
from benchmarks.edge import measure as all_of_them
from benchmarks.edge.base import Setup
from benchmarks.record import Findings, Goal
from shared.errors import CloudUnavailable

TARGET = Goal("a time", 2.0, 1.0, "s", "lower")


def fails(_: Setup) -> Findings:
    raise CloudUnavailable("nobody answers")


def works(_: Setup) -> Findings:
    return Findings({"samples": 3}, {"value": 1}, [TARGET])


def test_a_part_that_fails_takes_nothing_from_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(all_of_them, "allow_many_files", lambda: None)
    monkeypatch.setattr(all_of_them, "MEASUREMENTS", {"first": fails, "second": works})
    found = all_of_them.measure(Path("bundle"), "digits", None, (), quick=True)
    assert found.n == {"first": {}, "second": {"samples": 3}}
    assert found.results["first"]["failed"] == "CloudUnavailable: nobody answers"
    assert found.results["second"]["value"] == 1
    missing, met = found.targets
    assert (missing.measured, missing.met, missing.note) == (None, None, "CloudUnavailable: nobody answers")
    assert met == TARGET
    assert "1 of 2, first: CloudUnavailable: nobody answers" in capsys.readouterr().err


def test_the_command_names_all_of_them() -> None:
    assert tuple(all_of_them.MEASUREMENTS) == EDGE_PARTS
