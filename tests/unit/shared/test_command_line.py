"""What all commands share."""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner

from shared.command_line import PlainFormatter, parse_address
from shared.errors import ConfigError


@pytest.mark.parametrize(
    ("room", "name"),
    [("edge_client", "cli"), ("cloud_server", "command"), ("training", "main_group"), ("benchmarks", "main_group")],
)
def test_every_command_says_its_version(room: str, name: str) -> None:
    command: click.Command = getattr(import_module(f"{room}.__main__"), name)
    result = CliRunner().invoke(command, ["--version"])
    assert (result.exit_code, result.output) == (0, f"NeuCODEX {version('neucodex')}\n")


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
    line = PlainFormatter("%(levelname)s %(name)s: %(message)s").format(record)
    assert line == r"WARNING a: bundle x\nright  forged.png\x1b[2K is gone"
