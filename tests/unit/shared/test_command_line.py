"""What all commands share."""

from __future__ import annotations

import logging
from importlib import import_module

import click
import pytest
import tomllib
from click.testing import CliRunner

from shared.command_line import parse_address
from shared.errors import ConfigError
from shared.logs import TextFormatter
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


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("http://cloud:50051", "say cloud:50051; TLS"),
        ("https://cloud/", "say cloud:50051; TLS"),
        ("grpc://10.0.0.7:7000/x", "say 10.0.0.7:7000; TLS"),
        ("cloud", "is no HOST:PORT, such as"),
    ],
)
def test_what_is_no_address_is_told_how_to_be_one(said: str, advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        parse_address(said)


def test_a_message_is_one_line_in_the_log_whatever_is_in_it() -> None:
    record = logging.LogRecord("a", logging.WARNING, "", 0, "bundle %s is gone", ("x\nright  forged.png\x1b[2K",), None)
    line = TextFormatter().format(record).partition(" ")[2]
    assert line == r"WARNING a: bundle x\nright  forged.png\x1b[2K is gone"
