"""Options that are written once: a dataclass field is also a command-line flag and an environment variable.

@dataclass(frozen=True)
class Options:
    threads: Annotated[int, Flag("--threads", "Threads of the head's operations.", metavar="N")] = 1

@click.command()
@flags_of(Options)
def command(**values: Any) -> None:
    options = from_flags(Options, values)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

from shared.command_line import Address, HostPort, existing_path, option

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass(frozen=True)
class Flag:
    """The name and help of a field on the command line.

    Attributes:
        name: such as --threads.
        help: for --help.
        metavar: what --help calls the value.
        type: what click converts the value with; by default it follows from the field's type.
    """

    name: str
    help: str
    metavar: str | None = None
    type: Any = None


def flags_of(*options: type) -> Callable[[F], F]:
    """Add a flag for every field of these dataclasses, and of dataclasses in their fields: required ones first.

    The command gets each value under its field's name; `from_flags` takes it from there. No two fields may have one
    name.
    """

    def add(command: F) -> F:
        for each in reversed(options):
            found = sorted(_fields(each), key=lambda each: not _required(each[0]))
            for field, hint, flag in found[::-1]:
                command = flags_of(hint)(command) if flag is None else _option(field, hint, flag)(command)
        return command

    return add


def from_flags(options: Callable[..., T], values: Mapping[str, Any]) -> T:
    """An instance of a dataclass from the values that a command was given.

    Raises:
        ConfigError: the dataclass refuses a value.
    """
    return options(
        **{
            field.name: from_flags(hint, values) if flag is None else values[field.name]
            for field, hint, flag in _fields(options)
        }
    )


def _fields(options: Any) -> Iterator[tuple[dataclasses.Field[Any], Any, Flag | None]]:
    """Each field with its type and its flag; with a dataclass and None where the flags are those of the dataclass."""
    hints = get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        hint = hints[field.name]
        flag = next((extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Flag)), None)
        if flag is not None:
            yield field, get_args(hint)[0], flag
        elif dataclasses.is_dataclass(hint):
            yield field, hint, None


def _option(field: dataclasses.Field[Any], hint: Any, flag: Flag) -> Callable[[F], F]:
    settings: dict[str, Any] = {"help": flag.help, "metavar": flag.metavar}
    settings.update({"type": flag.type} if flag.type is not None else _click_settings(hint))
    if _required(field):
        settings["required"] = True
    elif hint is not bool and field.default is not None and field.default != ():
        settings["default"] = field.default
    return option(flag.name, field.name, **settings)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _click_settings(hint: Any) -> dict[str, Any]:
    alternatives = [each for each in get_args(hint) if each is not NoneType]
    if NoneType in get_args(hint) and len(alternatives) == 1:
        return {"default": None} if alternatives == [bool] else _click_settings(alternatives[0])
    if hint is bool:
        return {"is_flag": True}
    if get_origin(hint) is Literal:
        return {"type": click.Choice(get_args(hint))}
    if get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis:
        return {**_click_settings(get_args(hint)[0]), "multiple": True}
    return {"type": _CONVERTERS.get(hint, hint)}


_CONVERTERS = {Path: existing_path, Address: HostPort()}
