import json
import sys
from pathlib import Path

import pytest

from benchmarks import record
from benchmarks.record import Clock, Findings, Goal, command


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("/usr/local/bin/neucodex-bench", "neucodex-bench"),
        ("/somewhere/benchmarks/__main__.py", "python -m benchmarks"),
        ("/somewhere/benchmarks/soak.py", "python -m benchmarks.soak"),
    ],
)
def test_a_command_names_no_folder_of_the_machine(monkeypatch: pytest.MonkeyPatch, program: str, said: str) -> None:
    monkeypatch.setattr(sys, "argv", [program, "--bundle", "models/one", "--data", str(Path("/data/pictures"))])
    assert command() == f"{said} --bundle models/one --data DIR"


def test_a_record_names_the_commit_that_it_began_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(record, "commit", lambda: "before")
    clock = Clock("one")
    monkeypatch.setattr(record, "commit", lambda: "after")
    assert json.loads(clock.write(Findings({}, {}), tmp_path).read_text())["commit"] == "before"


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        (Goal("fewer bytes than JPEG q90", 10, 6.547, "x", "higher"), "6.55x fewer bytes than JPEG q90; asked: 10x"),
        (
            Goal("paper: less accurate than at full T", 2, 2.8, "points", "lower"),
            "paper: 2.8 points less accurate than at full T; asked: at most 2 points",
        ),
        (Goal("paper: fewer bits", 2048, 2048.0, "x", "higher"), "paper: 2,048x fewer bits; asked: 2,048x"),
        (Goal("less energy", 90, None, "%", "higher"), "not measured: less energy; asked: 90 %"),
    ],
)
def test_a_goal_reads_as_a_sentence(goal: Goal, said: str) -> None:
    assert goal.sentence == said
