"""`neucodex-edge`: the command line of the edge. The only module that reads the environment."""

from __future__ import annotations

import os

# gRPC's own log lines are for its developers, and it reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import asyncio
import io
import sys
from typing import Any

import click

from edge_client.cli.doctor import doctor
from edge_client.config import EdgeConfig
from edge_client.input_config import InputConfig
from edge_client.output_config import OutputConfig
from shared.command_line import log_options, run, version_option, warn_of_unknown_variables
from shared.errors import OutputError
from shared.exit_codes import INTERRUPTED, epilog
from shared.flags import flags_of, from_flags
from shared.logs import LogFormat, configure_logs

EXIT_CODES = epilog(0, 1, 2, 3, 4, 5, 6, 7, INTERRUPTED)


@click.group(epilog=EXIT_CODES)
@version_option
def cli() -> None:
    """The edge of NeuCODEX: runs a network's head and asks a cloud for the rest, timestep by timestep."""


@cli.command(epilog=EXIT_CODES)
@click.argument("more", nargs=-1, metavar="[PATH]...")
@flags_of(EdgeConfig, InputConfig, OutputConfig)
@log_options
def classify(more: tuple[str, ...], log_format: LogFormat, log_level: str, **values: Any) -> int:
    """Classify pictures or a data set's test part together with a cloud."""
    configure_logs(log_format, log_level)
    warn_of_unknown_variables()
    kind = "events" if values["events"] else "images"
    values[kind] = (*values[kind], *more)
    inputs, outputs = from_flags(InputConfig, values), from_flags(OutputConfig, values)
    config = from_flags(EdgeConfig, values)
    if sys.stdout is None:
        raise OutputError("standard output is closed: results have nowhere to go; send it to a file, or to /dev/null")
    # Imported when the command line is known to be right: --help and a wrong flag answer at once.
    from edge_client.cli.classify import run_classify  # noqa: PLC0415

    return asyncio.run(run_classify(config, inputs, outputs, sys.stdout, sys.stderr))


cli.add_command(doctor)


def main() -> None:
    """The console script `neucodex-edge`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        run(cli)
    except BrokenPipeError:  # of --help or doctor
        _discard_output()
        sys.exit(OutputError.exit_code)
    except SystemExit as ending:
        if ending.code == OutputError.exit_code:
            _discard_output()
        raise


def _discard_output() -> None:
    """Drop what cannot be written to standard output, or Python tries again when it exits."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
