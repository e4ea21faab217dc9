"""The standard gRPC health service, for the process as a whole and for the CoInference service."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICE = health.SERVICE_NAME


class Health:
    """NOT_SERVING until told otherwise."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self._services = ("", *services)
        self._servicer: Any = health.aio.HealthServicer()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer health checks on this server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set(self, *, serving: bool) -> None:
        """Whether load balancers should send edges here; those who watch are told at once."""
        states = health_pb2.HealthCheckResponse
        for service in self._services:
            await self._servicer.set(service, states.SERVING if serving else states.NOT_SERVING)
