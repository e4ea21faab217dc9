"""What all commands share."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner


@pytest.mark.parametrize(
    ("room", "name"),
    [("edge_client", "cli"), ("cloud_server", "command"), ("training", "main_group"), ("benchmarks", "main_group")],
)
def test_every_command_says_its_version(room: str, name: str) -> None:
    command: click.Command = getattr(import_module(f"{room}.__main__"), name)
    result = CliRunner().invoke(command, ["--version"])
    assert (result.exit_code, result.output) == (0, f"NeuCODEX {version('neucodex')}\n")
