"""Plain values (parsed TOML or JSON) into frozen dataclasses, with every surprise named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import dacite

from shared.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def build(cls: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from plain values, its nested dataclasses too; lists become tuples.

    Raises:
        ConfigError: a field is unknown, missing or of a wrong type, or the class's own checks refuse its value; the
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
