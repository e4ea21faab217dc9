"""`neucodex-edge doctor`: is there a cloud, is it the right one, and how far away?"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edge_client.link.security import LinkSecurity
from shared.command_line import (
    HostPort,
    execution_option,
    existing_path,
    log_options,
    option,
    warn_of_unknown_variables,
)
from shared.errors import ConfigError
from shared.execution import Execution
from shared.flags import flags_of, from_flags
from shared.logs import LogFormat, configure_logs
from shared.plain_text import plain


@click.command()
@option("--cloud", type=HostPort(), required=True, multiple=True, help="Where neucodex-cloud listens; may be repeated.")
@option(
    "--bundle", type=existing_path, metavar="DIR", help="See whether the cloud serves it, and how fast the head is."
)
@execution_option
@option("--trust", type=existing_path, multiple=True, metavar="KEY", help="See whether such a key signed the bundle.")
@flags_of(LinkSecurity)
@option("--deadline", type=float, default=5.0, metavar="SECONDS", help="For each check.")
@option("--threads", type=int, default=1, metavar="N", help="Threads of the head's operations.")
@option("--json", "as_json", is_flag=True, help="One JSON object a line for each check.")
@log_options
def doctor(
    cloud: tuple[tuple[str, int], ...],
    bundle: Path | None,
    execution: Execution | None,
    trust: tuple[Path, ...],
    deadline: float,
    threads: int,
    as_json: bool,
    log_format: LogFormat,
    log_level: str,
    **credentials: Any,
) -> int:
    """Check the connection to a cloud step by step, and say what to do if a step fails.

    Exit codes: 0 all is well, else that of the first check that failed: 5 no cloud, 6 it refuses this edge, 2 and 3 the
    configuration or the bundle here.
    """
    configure_logs(log_format, log_level)
    warn_of_unknown_variables()
    if not deadline > 0.0:
        raise ConfigError(f"--deadline is {deadline}: it must be positive, in seconds")
    security = from_flags(LinkSecurity, credentials)
    security.check(cloud)
    # Imported when the command line is known to be right.
    from edge_client.doctor import Asked, Finding, examine, lines  # noqa: PLC0415
    from shared.bundle import Bundle  # noqa: PLC0415

    opened = None if bundle is None else Bundle.open(bundle, execution, trust)
    asked = Asked(cloud, opened, security, deadline, threads)

    async def run() -> list[Finding]:
        findings = []
        async for finding in examine(asked):
            click.echo(json.dumps(asdict(finding)) if as_json else "\n".join(map(plain, lines(finding))))
            findings.append(finding)
        return findings

    codes = [finding.exit_code for finding in asyncio.run(run()) if finding.exit_code]
    return codes[0] if codes else 0
