"""The standard gRPC health service, for the process as a whole and for the CoInference service.

It answers beside the CoInference service and, where asked for, on a port of its own in clear, for probes that speak no
TLS, such as the kubelet's.
"""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from cloud_server.listening import bind
from cloud_server.security import IN_CLEAR

SERVICE = health.SERVICE_NAME

LONGEST_REQUEST = 1024
"""Bytes: a request names a service."""


class Health:
    """NOT_SERVING until told otherwise."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self._services = ("", *services)
        self._servicer: Any = health.aio.HealthServicer()
        self._alone: grpc.aio.Server | None = None

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer health checks on this server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def listen(self, address: tuple[str, int], *, shared: bool) -> tuple[str, int]:
        """Answer health checks on a port of its own too; returns it. `shared` lets other processes take it as well.

        Raises:
            ConfigError: it is taken, or not this machine's.
        """
        self._alone = grpc.aio.server(
            options=[("grpc.so_reuseport", int(shared)), ("grpc.max_receive_message_length", LONGEST_REQUEST)]
        )
        self.add_to(self._alone)
        bound = bind(self._alone, address, IN_CLEAR, "--health")
        await self._alone.start()
        return bound

    async def close(self) -> None:
        """Give the port of its own back."""
        if self._alone is not None:
            await self._alone.stop(None)

    async def set(self, *, serving: bool) -> None:
        """Whether load balancers should send edges here; those who watch are told at once."""
        states = health_pb2.HealthCheckResponse
        for service in self._services:
            await self._servicer.set(service, states.SERVING if serving else states.NOT_SERVING)
