"""The unit for an edge without containers, by systemd's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_client.__main__ import cli as edge_commands
from tests.support.prometheus import ROOT

UNIT = ROOT / "deploy/systemd/neucodex-edge.service"
OPTIONS = {str(parameter.envvar) for parameter in edge_commands.commands["classify"].params}
MOST_EXPOSED = 2.0
"""Of 10; 1.7 is what an edge needs: the network, a camera."""


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    return subprocess.run(["systemd-analyze", *arguments], check=False, capture_output=True, text=True)


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    # Where it runs the program is elsewhere: only that it is missing here may be said.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/neucodex/bin/neucodex-edge", "/bin/true"))
    done = analyze("verify", unit)
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, said) == (0, [])
    unit.write_text(unit.read_text().replace("NoNewPrivileges=yes", "NoNewPriviliges=yes"))
    assert "NoNewPriviliges" in analyze("verify", unit).stderr


def test_it_may_do_little() -> None:
    done = analyze("security", "--offline=true", UNIT)
    found = re.search(r"exposure level for .*: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) < MOST_EXPOSED


def test_every_variable_is_an_option_of_the_edge() -> None:
    named = set(re.findall(r"\bNEUCODEX_\w+(?==)", UNIT.read_text() + (UNIT.parent / "edge.env").read_text()))
    assert len(named) > 10
    assert named <= OPTIONS


def test_a_restart_goes_on_and_never_gives_up() -> None:
    text = UNIT.read_text()
    for line in ("Restart=always", "StartLimitIntervalSec=0", "SuccessExitStatus=130"):
        assert line in text.splitlines()
    assert "NEUCODEX_RESUME=1" in text
