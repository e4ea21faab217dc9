"""What all commands share."""

from __future__ import annotations

from importlib import import_module

import click
import pytest
import tomllib
from click.testing import CliRunner

from shared.version import VERSION
from tests.support.prometheus import ROOT


@pytest.mark.parametrize(
    ("room", "name"),
    [("edge_client", "cli"), ("cloud_server", "command"), ("training", "main_group"), ("benchmarks", "main_group")],
)
def test_every_command_says_its_version(room: str, name: str) -> None:
    command: click.Command = getattr(import_module(f"{room}.__main__"), name)
    result = CliRunner().invoke(command, ["--version"])
    assert (result.exit_code, result.output) == (0, f"NeuCODEX {VERSION}\n")


def test_the_package_and_the_images_have_that_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"] == {"version": {"attr": "shared.version.VERSION"}}
    for side in ("cloud", "edge"):
        assert f"ARG VERSION={VERSION}\n" in (ROOT / f"deploy/{side}.Dockerfile").read_text()
