"""The standard gRPC health service, for the process as a whole and for the CoInference service.

It answers on the port of the CoInference service. With `--health` it also answers on a port of its own without TLS,
for probes that speak no TLS, such as the kubelet's.

It has only the method `Check`, which the kubelet, Envoy and grpc_health_probe call. A `Watch` is a stream that a
stranger could open and never read. The standard allows UNIMPLEMENTED for it, and clients then do without.
"""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from cloud_server.rpc.grpc_server import bind
from cloud_server.security import PLAINTEXT

SERVICE = health.SERVICE_NAME

MAX_REQUEST_BYTES = 1024
"""A request holds the name of a service."""

MAX_CHECKS = 16
"""Unread answers that one connection to the --health port may have."""


class HealthServicer:
    """Answers health checks: NOT_SERVING until `serving` is set.

    Args:
        services: names that a check may ask for; the empty name, for the process, is always known.

    Attributes:
        serving: whether load balancers should send edges here.
    """

    def __init__(self, services: tuple[str, ...]) -> None:
        self.serving = False
        self._services = ("", *services)
        self._own_server: grpc.aio.Server | None = None

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for `grpc.aio.Server.add_generic_rpc_handlers`."""
        check: Any = grpc.unary_unary_rpc_method_handler(
            self._check,
            request_deserializer=health_pb2.HealthCheckRequest.FromString,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Check": check})

    async def listen(self, address: tuple[str, int], *, shared: bool) -> tuple[str, int]:
        """Answer health checks on another port, too.

        Args:
            address: (host, port); port 0 takes a free port.
            shared: whether other processes may listen on the same port.

        Returns:
            The address, with the port that it got.

        Raises:
            ConfigError: the address is taken, or is not an address of this machine.
        """
        self._own_server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", int(shared)),
                ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
                ("grpc.max_concurrent_streams", MAX_CHECKS),
            ]
        )
        self._own_server.add_generic_rpc_handlers((self.handler(),))
        bound = bind(self._own_server, address, PLAINTEXT, "--health")
        await self._own_server.start()
        return bound

    async def close(self) -> None:
        """Close the --health port, if there is one."""
        if self._own_server is not None:
            await self._own_server.stop(None)

    async def _check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        states = health_pb2.HealthCheckResponse
        return states(status=states.SERVING if self.serving else states.NOT_SERVING)
