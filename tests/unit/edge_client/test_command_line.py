"""What --help promises, and what an edge does not load."""

from __future__ import annotations

import re
import subprocess
import sys

import click
from click.testing import CliRunner

from edge_client.__main__ import classify, cli


def test_every_flag_is_an_environment_variable_too_and_every_exit_code_is_told() -> None:
    options = [parameter for parameter in classify.params if isinstance(parameter, click.Option)]
    assert {option.name: option.envvar for option in options} == {
        option.name: "NEUCODEX_" + option.opts[0].removeprefix("--").replace("-", "_").upper() for option in options
    }
    told = re.sub(r"\s+", " ", CliRunner().invoke(cli, ["classify", "--help"]).output)
    for words in ("0 all done", "1 some samples failed", "5 no cloud", "6 the cloud refused", "130 interrupted"):
        assert words in told


def test_torch_is_loaded_by_the_head_alone() -> None:
    code = (
        "import sys, edge_client.cli.classify, edge_client.__main__; "
        "sys.exit(', '.join({'torch', 'PIL', 'cloud_server'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
