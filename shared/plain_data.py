"""Builds frozen dataclasses from plain values (parsed TOML or JSON); the error names the field that does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import dacite

from shared.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def dataclass_from(cls: type[T], values: Mapping[str, Any]) -> T:
    """Build a dataclass, and the dataclasses nested in it, from plain values; lists become tuples.

    Raises:
        ConfigError: a field is unknown, missing or of the wrong type, or the class's own checks refuse its value. The
            message names the field.
    """
    try:
        return dacite.from_dict(cls, values, dacite.Config(strict=True, cast=[tuple]))
    except dacite.UnexpectedDataError as error:
        raise ConfigError(f"unknown field {', '.join(sorted(error.keys))}") from None
    except dacite.DaciteError as error:
        raise ConfigError(str(error)) from None
    except TypeError as error:
        raise ConfigError(f"a field has a value of a wrong kind: {error}") from None
