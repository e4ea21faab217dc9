import json
import sys
from pathlib import Path

import pytest

from benchmarks import record
from benchmarks.record import Clock, Findings, command


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
