"""Shared by all command lines: options that are environment variables too, addresses, logs, and errors for people."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shared.errors import ConfigError, NeucodexError
from shared.execution import EXECUTIONS
from shared.exit_codes import INTERRUPTED
from shared.known_variables import unknown_variables
from shared.logs import LOGGED, let_standard_error_fail
from shared.plain_text import plain
from shared.version import VERSION

Address = tuple[str, int]
"""(host, port)."""

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    _HostPortType = click.ParamType[tuple[str, int]]
else:
    _HostPortType = click.ParamType  # generic only in newer releases

MULTIPROCESS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
"""Inherited from another program they would send our metrics to its folder, or fail where that is gone."""


def option(flag: str, *names: str, **settings: Any) -> Callable[[F], F]:
    """`click.option` with the environment variable NEUCODEX_<FLAG> and its default in the help text."""
    variable = "NEUCODEX_" + flag.split("/", maxsplit=1)[0].lstrip("-").replace("-", "_").upper()
    settings.setdefault("show_default", settings.get("default") is not None)
    if settings.get("type") is existing_path and settings.get("metavar") is None:
        settings["metavar"] = "PATH"
    return click.option(flag, *names, envvar=variable, show_envvar=True, **settings)


def execution_option(command: F) -> F:
    """Add --execution, which chooses one of a bundle's executions."""
    return option(
        "--execution", type=click.Choice(EXECUTIONS), help="How the network runs; the bundle's default if not given."
    )(command)


def log_options(command: F) -> F:
    """Add --log-format and --log-level; hand their values to `shared.logs.configure_logs`."""
    command = option(
        "--log-format", type=click.Choice(["text", "json"]), default="text", help="Logs as lines for people or as JSON."
    )(command)
    return option(
        "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", help="What is logged."
    )(command)


def warn_of_unknown_variables() -> None:
    """Log which NEUCODEX_* environment variables no flag reads. Logs are configured."""
    for sentence in unknown_variables(os.environ):
        logging.getLogger(__name__).warning(sentence)


class HostPort(_HostPortType):
    """HOST:PORT; an IPv6 host stands in brackets; :PORT means all interfaces."""

    name = "HOST:PORT"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        try:
            return parse_address(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


def parse_address(value: str) -> Address:
    """HOST:PORT as (host, port); an IPv6 host stands in brackets.

    Raises:
        ConfigError: it is none.
    """
    if "/" in value:
        without = value.rsplit("://", maxsplit=1)[-1].split("/", maxsplit=1)[0]
        raise ConfigError(
            f"{value!r} is a URL, and no HOST:PORT: say {without if ':' in without else f'{without}:50051'}; TLS is "
            "used unless --insecure says otherwise"
        )
    host, separator, port = value.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{value!r} is no HOST:PORT, such as 127.0.0.1:50051")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  asked for by the user


def split_address(text: str) -> Address:
    """HOST:PORT, as `join_address` writes it, as (host, port)."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def join_address(address: Address) -> str:
    """(host, port) as gRPC takes it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def existing_path(value: str) -> Path:
    """A path named by the user, with ~ expanded; a ~name of no user stays as it is."""
    return Path(os.path.expanduser(value))  # noqa: PTH111  Path's raises then


def version_option(command: F) -> F:
    """Add --version, which prints the version of this code."""

    def show(context: click.Context, _: click.Parameter, asked: bool) -> None:
        if not asked:
            return
        click.echo(f"NeuCODEX {VERSION}")
        context.exit()

    return click.option(
        "--version", is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show the version and exit."
    )(command)


def run(command: click.Command) -> None:
    """Run a click command as this process: our errors become one line on standard error and their exit code.

    `shared.exit_codes` says what the codes mean.
    """
    for name in MULTIPROCESS:
        os.environ.pop(name, None)
    let_standard_error_fail()
    try:
        code = command.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except NeucodexError as error:
        click.echo(f"error: {plain(error, LOGGED)}", err=True)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def fraction(value: float | None, flag: str) -> float | None:
    """A number in 0..1, or None.

    Raises:
        ConfigError: it is outside.
    """
    if value is not None and not 0.0 <= value <= 1.0:
        raise ConfigError(f"{flag} is {value}: it must lie in 0..1")
    return value
