"""What single options of the edge are read as from the command line and the environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edge_client.windows import Window

if TYPE_CHECKING:
    _CountType = click.ParamType[int | Literal["auto"]]
    _SizeType = click.ParamType[tuple[int, int]]
    _WindowType = click.ParamType[Window]
else:
    _CountType = _SizeType = _WindowType = click.ParamType  # generic only in newer releases


class CountOrAuto(_CountType):
    """A whole number, or the word auto."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["auto"]:
        if value == "auto":
            return "auto"
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor auto", param, ctx)


class Size(_SizeType):
    """WIDTHxHEIGHT, as (height, width)."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        width, _, height = str(value).partition("x")
        if not (width.isdecimal() and height.isdecimal()):
            self.fail(f"{value!r} is no WIDTHxHEIGHT, such as 640x480", param, ctx)
        return int(height), int(width)


class WindowType(_WindowType):
    """count:N or time:MS, with a stride behind a slash."""

    name = "count:N|time:MS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Window:
        if isinstance(value, Window):
            return value
        try:
            return Window.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def power_meter(value: str) -> Path | Literal["auto", "none"]:
    """auto, none, or the path of a file."""
    if value == "auto":
        return "auto"
    return "none" if value == "none" else Path(value)
