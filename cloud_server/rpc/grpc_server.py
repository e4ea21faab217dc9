"""gRPC's settings, and the addresses that are listened on."""

from __future__ import annotations

import grpc

from cloud_server.config import CloudConfig
from cloud_server.security import ServerSecurity
from shared.command_line import join_address
from shared.errors import ConfigError

MOST_METADATA = 8 * 1024
"""Bytes of headers that a stream may begin with: a token and what proxies add."""

SPARE_STREAMS = 32
"""Streams of one connection beyond `max_streams`: for health checks, and for those that are told they are too many."""


def server_options(config: CloudConfig, longest_message: int) -> list[tuple[str, int]]:
    """gRPC's settings: message size, keepalive, and who may share the port."""
    return [
        # Of one process alone: or a second server on the same port would start and take half of the streams.
        ("grpc.so_reuseport", int(config.processes > 1)),
        ("grpc.max_receive_message_length", longest_message),
        # Calls that are over count until they are read: a peer that reads nothing would pile them up.
        ("grpc.max_concurrent_streams", config.max_streams + SPARE_STREAMS),
        # A peer that vanished without a word gives its slots back.
        ("grpc.keepalive_time_ms", round(config.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", round(config.keepalive * 500)),
        ("grpc.http2.ping_timeout_ms", round(config.keepalive * 500)),  # or a lost answer is noticed after a minute
        ("grpc.keepalive_permit_without_calls", 1),
        # Edges may ping to see whether the link lives; by default a third ping within five minutes is one too many.
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.max_metadata_size", MOST_METADATA),
        ("grpc.http2.bdp_probe", 0),  # streams are sparse: probing for bandwidth would add pings to small frames
    ]


def bind(server: grpc.aio.Server, address: tuple[str, int], security: ServerSecurity, flag: str) -> tuple[str, int]:
    """Take the address that `flag` names; returns it with the port that it became.

    Raises:
        ConfigError: it is taken, or not this machine's.
    """
    try:
        port = security.bind(server, join_address(address))
    except RuntimeError:
        port = 0
    if port == 0:
        raise cannot_listen(address, flag)
    return address[0], port


def cannot_listen(address: tuple[str, int], flag: str) -> ConfigError:
    """What a person is told of an address that cannot be taken."""
    asked = join_address(address)
    return ConfigError(f"cannot listen on {asked}: the port is taken or the host is not this machine's; see {flag}")
