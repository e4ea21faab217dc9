"""A field is a flag and an environment variable, and comes back as it was said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner

from shared.flags import Flag, flags_of, from_flags


@dataclass(frozen=True)
class Keys:
    token: Annotated[Path | None, Flag("--token", "A file.", metavar="FILE")] = None


@dataclass(frozen=True)
class Options:
    places: Annotated[tuple[tuple[str, int], ...], Flag("--place", "Where.")]
    names: Annotated[tuple[str, ...], Flag("--name", "Who.")] = ()
    count: Annotated[int, Flag("--count", "How many.", metavar="N")] = 3
    share: Annotated[float | None, Flag("--share-of", "How much.")] = None
    how: Annotated[Literal["slow", "fast"], Flag("--how", "In which way.")] = "slow"
    loud: Annotated[bool, Flag("--loud", "Whether.")] = False
    twice: Annotated[int, Flag("--twice", "Doubled.", type=lambda said: 2 * int(said))] = 0
    keys: Keys = Keys()
    unflagged: int = 7
    kept: Annotated[bool | None, Flag("--keep/--drop", "Kept or not; neither is said.")] = None


def run(*arguments: str, **environment: str) -> tuple[click.testing.Result, list[Options]]:
    got: list[Options] = []

    @click.command()
    @flags_of(Options)
    def command(**values: Any) -> None:
        got.append(from_flags(Options, values))

    return CliRunner().invoke(command, arguments, env=environment), got


def test_defaults_are_those_of_the_dataclass() -> None:
    result, got = run("--place", "here:1")
    assert result.exit_code == 0, result.output
    assert got == [Options((("here", 1),))]


def test_each_value_becomes_its_fields_type() -> None:
    result, got = run(
        *("--place", "here:1", "--place", "[::1]:2", "--name", "a", "--name", "b", "--count", "5", "--share-of", "0.5"),
        *("--how", "fast", "--loud", "--twice", "4", "--token", "~/t"),
    )
    assert result.exit_code == 0, result.output
    expected = Options((("here", 1), ("::1", 2)), ("a", "b"), 5, 0.5, "fast", True, 8, Keys(Path("~/t").expanduser()))
    assert got == [expected]


def test_the_environment_says_the_same() -> None:
    result, got = run("--place", "here:1", NEUCODEX_COUNT="9", NEUCODEX_SHARE_OF="0.25", NEUCODEX_TOKEN="t")
    assert result.exit_code == 0, result.output
    assert got == [Options((("here", 1),), count=9, share=0.25, keys=Keys(Path("t")))]


@pytest.mark.parametrize(
    ("arguments", "variables", "kept"),
    [((), {}, None), (("--keep",), {}, True), (("--drop",), {}, False), ((), {"NEUCODEX_KEEP": "0"}, False)],
)
def test_a_flag_may_be_said_either_way_or_not_at_all(
    arguments: tuple[str, ...], variables: dict[str, str], kept: bool | None
) -> None:
    result, got = run("--place", "here:1", *arguments, **variables)
    assert result.exit_code == 0, result.output
    assert got[0].kept is kept


@pytest.mark.parametrize(
    ("arguments", "said"), [((), "Missing option '--place'"), (("--place", "here:1", "--how", "odd"), "'odd'")]
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], said: str) -> None:
    result, got = run(*arguments)
    assert (result.exit_code, got) == (2, [])
    assert said in result.output


def test_help_names_default_and_environment_variable() -> None:
    help_text = run("--help")[0].output
    assert "--count N" in help_text
    assert "NEUCODEX_COUNT" in help_text
    assert "default: 3" in help_text
    assert "unflagged" not in help_text
