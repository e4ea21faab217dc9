"""The command-line flags of `LinkSecurity`, for every command that goes to a cloud."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from edge_client.link.security import LinkSecurity
from shared.command_line import existing_path, option


def security_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags; the command is called with their values as one argument, `security`."""

    @wraps(command)
    def wrapped(
        tls_ca: Path | None,
        tls_cert: Path | None,
        tls_key: Path | None,
        tls_name: str | None,
        token_file: Path | None,
        insecure: bool,
        insecure_anywhere: bool,
        **others: Any,
    ) -> Any:
        security = LinkSecurity(tls_ca, tls_cert, tls_key, tls_name, token_file, insecure, insecure_anywhere)
        return command(security=security, **others)

    for decorate in reversed(
        (
            option("--tls-ca", type=existing_path, metavar="FILE", help="Authority of the cloud's certificate, PEM."),
            option("--tls-cert", type=existing_path, metavar="FILE", help="This edge's own certificate (mutual TLS)."),
            option("--tls-key", type=existing_path, metavar="FILE", help="Its key."),
            option("--tls-name", metavar="NAME", help="Expect this name in the certificate; else the host of --cloud."),
            option("--token-file", type=existing_path, metavar="FILE", help="The first token in it is sent."),
            option("--insecure", is_flag=True, help="No TLS, to a cloud on this machine."),
            option("--insecure-anywhere", is_flag=True, help="No TLS across a network; with --insecure."),
        )
    ):
        wrapped = decorate(wrapped)
    return wrapped
