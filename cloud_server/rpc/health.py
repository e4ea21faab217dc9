"""The standard gRPC health service, for the process as a whole and for the CoInference service.

It answers beside the CoInference service and, where asked for, on a port of its own in clear, for probes that speak no
TLS, such as the kubelet's.

Of its methods there is `Check` alone, which the kubelet, Envoy and grpc_health_probe ask. A `Watch` is a stream that a
stranger may open and never read; the standard has UNIMPLEMENTED for servers without it, and clients go on without.
"""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from cloud_server.rpc.grpc_server import bind
from cloud_server.security import IN_CLEAR

SERVICE = health.SERVICE_NAME

LONGEST_REQUEST = 1024
"""Bytes: a request names a service."""

MOST_CHECKS = 16
"""Checks of one connection that wait to be read, on the port of its own."""


class Health:
    """NOT_SERVING until told otherwise.

    Attributes:
        serving: whether load balancers should send edges here. Setting it waits for nobody.
    """

    def __init__(self, services: tuple[str, ...]) -> None:
        self.serving = False
        self._services = ("", *services)
        self._alone: grpc.aio.Server | None = None

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for `grpc.aio.Server.add_generic_rpc_handlers`."""
        check: Any = grpc.unary_unary_rpc_method_handler(
            self._check,
            request_deserializer=health_pb2.HealthCheckRequest.FromString,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Check": check})

    async def listen(self, address: tuple[str, int], *, shared: bool) -> tuple[str, int]:
        """Answer health checks on a port of its own too; returns it. `shared` lets other processes take it as well.

        Raises:
            ConfigError: it is taken, or not this machine's.
        """
        self._alone = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", int(shared)),
                ("grpc.max_receive_message_length", LONGEST_REQUEST),
                ("grpc.max_concurrent_streams", MOST_CHECKS),
            ]
        )
        self._alone.add_generic_rpc_handlers((self.handler(),))
        bound = bind(self._alone, address, IN_CLEAR, "--health")
        await self._alone.start()
        return bound

    async def close(self) -> None:
        """Give the port of its own back."""
        if self._alone is not None:
            await self._alone.stop(None)

    async def _check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        states = health_pb2.HealthCheckResponse
        return states(status=states.SERVING if self.serving else states.NOT_SERVING)
