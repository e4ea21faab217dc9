"""gRPC's settings, and the address that it listens on."""

from __future__ import annotations

import grpc

from cloud_server.config import CloudConfig
from cloud_server.security import ServerSecurity
from shared.command_line import join_address
from shared.errors import ConfigError

MAX_METADATA_BYTES = 8 * 1024
"""Headers of a stream: a token, and what proxies add."""

SPARE_STREAMS = 32
"""Streams of one connection beyond `max_streams`, for health checks and for streams that are refused."""


SPARE_CONNECTIONS = 512
"""Connections beyond `max_streams`, for those that have no stream yet."""

HANDSHAKE_MS = 10_000
"""For TLS and HTTP/2's settings; by default gRPC waits two minutes."""


def server_options(config: CloudConfig, longest_message: int) -> list[tuple[str, int]]:
    """gRPC's settings.

    Args:
        config: of the process.
        longest_message: bytes of the longest message that is read.
    """
    return [
        # Only for several processes: otherwise a second server could start on the port and take half of the streams.
        ("grpc.so_reuseport", int(config.processes > 1)),
        ("grpc.max_receive_message_length", longest_message),
        # A call counts until its status is read, so a peer that reads nothing cannot pile calls up.
        ("grpc.max_concurrent_streams", config.max_streams + SPARE_STREAMS),
        # Finds peers that vanished; their slots become free.
        ("grpc.keepalive_time_ms", round(config.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", round(config.keepalive * 500)),
        ("grpc.http2.ping_timeout_ms", round(config.keepalive * 500)),  # the default finds a lost answer after a minute
        ("grpc.keepalive_permit_without_calls", 1),
        # Edges ping to check the link; by default gRPC refuses a third ping within five minutes.
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.max_allowed_incoming_connections", config.max_streams + SPARE_CONNECTIONS),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        ("grpc.http2.bdp_probe", 0),  # frames are small and sparse: pings that probe the bandwidth would add to them
    ]


def bind(server: grpc.aio.Server, address: tuple[str, int], security: ServerSecurity, flag: str) -> tuple[str, int]:
    """Listen on an address.

    Args:
        server: not started yet.
        address: (host, port); port 0 takes a free port.
        security: TLS, or none.
        flag: of the command line, for the error.

    Returns:
        The address, with the port that it got.

    Raises:
        ConfigError: the address is taken, or is not an address of this machine.
    """
    try:
        port = security.bind(server, join_address(address))
    except RuntimeError:
        port = 0
    if port == 0:
        raise cannot_listen(address, flag)
    return address[0], port


def cannot_listen(address: tuple[str, int], flag: str) -> ConfigError:
    """The error for an address that cannot be listened on; `flag` is the option that names it."""
    asked = join_address(address)
    return ConfigError(f"cannot listen on {asked}: the port is taken or the host is not this machine's; see {flag}")
