from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from benchmarks.__main__ import main_group as bench
from cloud_server.__main__ import command as cloud
from edge_client.__main__ import cli as edge
from shared.health_check import command as health
from shared.known_variables import KNOWN, unknown_variables
from training.__main__ import main_group as train

OF_TESTS = {"NEUCODEX_TEST_DATA"}


def variables(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and isinstance(parameter.envvar, str):
            yield parameter.envvar
    for inner in getattr(command, "commands", {}).values():
        yield from variables(inner)


def test_the_list_is_that_of_all_flags() -> None:
    flags = {name for command in (edge, cloud, health, train, bench) for name in variables(command)}
    assert sorted(KNOWN - flags - OF_TESTS) == [], "no flag reads these: take them out"
    assert sorted(flags - KNOWN) == [], "flags read these: add them"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NEUCODEX_CLUOD", "did you mean NEUCODEX_CLOUD?"),
        ("NEUCODEX_ON_LOST", "did you mean NEUCODEX_ON_LOSS?"),
        ("NEUCODEX_QQQQQQQQQQQQQQQQ", "--help names those that are"),
    ],
)
def test_a_mistyped_variable_is_said_with_the_nearest_one(name: str, said: str) -> None:
    (sentence,) = unknown_variables({name: "1", "NEUCODEX_CLOUD": "here:1", "PATH": "/bin", "NEUCODEXX": ""})
    assert sentence == f"the environment variable {name} is read by no flag: {said}"
