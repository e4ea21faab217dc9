"""`python -m shared.health_check`: asks a cloud whether it serves, by gRPC's health service. For containers and probes.

It takes its addresses, certificates and names from the flags, or from the variables that the edge and the cloud take
them from, so that in a container of either nothing is configured twice. It loads neither a bundle nor torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.command_line import HostPort, existing_path, join_address, option, run
from shared.plain_text import plain
from shared.proxy import WITHOUT_PROXY, proxy_to
from shared.security import read_secret, system_authorities


def serves(
    address: tuple[str, int], credentials: grpc.ChannelCredentials | None, name: str | None, timeout: float
) -> str:
    """What the health service at `address` answers, by name, or why there is no answer.

    `credentials` None asks in clear; `name` is expected in the certificate instead of the host.
    """
    target = join_address(address)
    options: list[tuple[str, Any]] = [] if name is None else [("grpc.ssl_target_name_override", name)]
    if proxy_to(address[0]) is None:
        options.append(WITHOUT_PROXY)
    if credentials is None:
        opened = grpc.insecure_channel(target, options)
    else:
        opened = grpc.secure_channel(target, credentials, options)
    with opened as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    status: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return status


@click.command()
@option("--cloud", type=HostPort(), required=True, multiple=True, help="Whom to ask; one of several is enough.")
@option("--tls-ca", type=existing_path, metavar="FILE", help="Authority of its certificate, PEM.")
@option("--tls-cert", type=existing_path, metavar="FILE", help="Certificate to show, PEM.")
@option("--tls-key", type=existing_path, metavar="FILE", help="Its key.")
@option("--tls-name", metavar="NAME", help="Expect this name in the certificate; else the host of --cloud.")
@option("--insecure", is_flag=True, help="No TLS.")
@option("--timeout", type=float, default=3.0, help="Seconds for an answer.")
def command(
    cloud: Sequence[tuple[str, int]],
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_name: str | None,
    insecure: bool,
    timeout: float,
) -> int:
    """Exit code 0 when a cloud serves, 1 when none does: the answers are printed on standard error."""
    credentials = None
    if not insecure:
        credentials = grpc.ssl_channel_credentials(
            system_authorities() if tls_ca is None else read_secret(tls_ca, "--tls-ca"),
            None if tls_key is None else read_secret(tls_key, "--tls-key"),
            None if tls_cert is None else read_secret(tls_cert, "--tls-cert"),
        )
    for address in cloud:
        answer = serves(address, credentials, tls_name, timeout)
        if answer == "SERVING":
            return 0
        click.echo(f"{join_address(address)}: {plain(answer)}", err=True)
    return 1


if __name__ == "__main__":
    run(command)
