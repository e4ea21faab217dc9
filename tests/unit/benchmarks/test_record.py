import sys
from pathlib import Path

import pytest

from benchmarks.record import command


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
