"""The command line of the cloud, `neucodex-cloud`. Only this file reads flags and environment variables."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any, get_args

import click

from cloud_server.config import CloudConfig, TailRuntime
from cloud_server.security import ServerSecurity
from shared.command_line import (
    HostPort,
    existing_path,
    log_options,
    option,
    run,
    version_option,
    warn_of_unknown_variables,
)
from shared.execution import EXECUTIONS
from shared.logs import LogFormat, configure_logs
from shared.metrics_page import PageSecurity


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@version_option
@option("--bundle", "bundles", multiple=True, metavar="DIR", help="A bundle to serve; give it again for more.")
@option("--bundles-dir", type=existing_path, help="Folder whose every subfolder with a bundle is served.")
@option("--trust", type=existing_path, multiple=True, metavar="KEY", help="Refuse bundles that no such key signed.")
@option("--listen", type=HostPort(), default="127.0.0.1:50051", help="Where edges connect; port 0 takes a free one.")
@option("--metrics", type=HostPort(), default="127.0.0.1:9464", help="Where Prometheus reads; port 0 takes a free one.")
@option("--metrics-tls-cert", type=existing_path, metavar="FILE", help="Certificate of the metrics page, PEM.")
@option("--metrics-tls-key", type=existing_path, metavar="FILE", help="Its key.")
@option("--metrics-tls-client-ca", type=existing_path, metavar="FILE", help="Readers need a certificate signed by it.")
@option("--metrics-users", type=existing_path, metavar="FILE", help="Readers must be one of these NAME:PASSWORD.")
@option("--health", type=HostPort(), help="Where health checks are answered in clear, and nothing else; for probes.")
@option("--tls-cert", type=existing_path, metavar="FILE", help="This server's certificate, PEM; renewed in place.")
@option("--tls-key", type=existing_path, metavar="FILE", help="Its key.")
@option("--tls-client-ca", type=existing_path, metavar="FILE", help="Edges must show a certificate of this authority.")
@option("--token-file", type=existing_path, metavar="FILE", help="Edges must send one of these tokens, one a line.")
@option("--insecure", is_flag=True, help="No TLS, on loopback.")
@option("--insecure-anywhere", is_flag=True, help="No TLS though others may listen in; with --insecure.")
@option(
    "--execution",
    type=click.Choice([*EXECUTIONS, "all"]),
    help="How bundles are run; each bundle's default if not given.",
)
@option(
    "--runtime",
    type=click.Choice(["auto", *get_args(TailRuntime)]),
    default="auto",
    help="What runs the tails; auto: onnxruntime on a CPU where the bundle has a graph, else torch.",
)
@option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="What the tails run on.")
@option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", help="Of the convolutions.")
@option("--batch-invariant", is_flag=True, help="Answers have the same bits in every batch; on the CPU.")
@option("--slots", type=int, default=288, help="Samples in flight at once, for each bundle; of one edge, 8/9 of them.")
@option("--max-batch", type=int, default=32, help="Samples stepped together at most.")
@option("--max-wait-ms", type=float, default=0.0, help="Wait of a batch that is not full; 0 never waits.")
@option("--max-queue", type=int, help="Frames of a bundle that may wait; as many as its slots can have by default.")
@option("--max-streams", type=int, default=1152, help="Streams open at once; of one edge, 8/9 of them.")
@option("--max-streams-per-peer", type=int, help="Streams open from one address; no limit by default.")
@option("--max-open-samples", type=int, default=32, help="Samples that one stream may have in flight.")
@option("--max-outgoing", type=int, default=64, help="Messages that wait for a slow reader before it is held back.")
@option("--sample-idle-timeout", type=float, default=30.0, help="Seconds without a frame until a sample is given up.")
@option("--stream-idle-timeout", type=float, default=60.0, help="Seconds without a sample until a stream may end.")
@option("--keepalive", type=float, default=20.0, help="Seconds of silence until a peer is pinged.")
@option("--drain-timeout", type=float, default=10.0, help="Seconds that open samples may take after SIGTERM.")
@option("--processes", type=int, default=1, help="Engines behind the one port, each with its share of the cores.")
@option("--threads", type=int, help="CPU threads of a tail step; measured at start by default.")
@option("--max-message-bytes", type=int, help="Longest message read; the bundles' largest frame decides by default.")
@option("--reflection/--no-reflection", default=None, help="Describe the service to tools; on loopback by default.")
@option("--ready-file", type=existing_path, help="Receives one JSON object once requests are served.")
@log_options
def command(
    bundles: tuple[str, ...],
    max_wait_ms: float,
    metrics_tls_cert: Path | None,
    metrics_tls_key: Path | None,
    metrics_tls_client_ca: Path | None,
    metrics_users: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    token_file: Path | None,
    insecure: bool,
    insecure_anywhere: bool,
    log_format: LogFormat,
    log_level: str,
    **settings: Any,
) -> int:
    """Serve the cloud half of bundles: decoder and tail, for many edges at once.

    SIGTERM and SIGINT drain: new streams are refused, open samples finish, and the exit code is 0. SIGHUP looks for
    bundles again: new ones are served, those that are gone are retired.
    """
    # Without a handler SIGHUP would end the process, and the kernel would drop a container's SIGTERM. Blocked, both
    # wait until their handlers are set.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
    configure_logs(log_format, log_level)
    warn_of_unknown_variables()
    config = CloudConfig(
        tuple(existing_path(path) for path in bundles),
        max_wait=max_wait_ms / 1000,
        metrics_security=PageSecurity(metrics_tls_cert, metrics_tls_key, metrics_tls_client_ca, metrics_users),
        security=ServerSecurity(tls_cert, tls_key, tls_client_ca, token_file, insecure, insecure_anywhere),
        **settings,
    )
    if config.processes > 1:
        from cloud_server.processes.supervisor import supervise  # noqa: PLC0415  only needed for several processes

        return supervise(config, (log_format, log_level))
    from cloud_server.server import serve  # noqa: PLC0415  --help must not wait for its imports

    asyncio.run(serve(config))
    return 0


def main() -> None:
    """Entry point of `neucodex-cloud`."""
    run(command)


if __name__ == "__main__":
    main()
