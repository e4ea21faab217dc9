"""Bare gRPC: a server that answers each message of a stream with the same bytes, and a client that times it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from shared.errors import CloudUnavailable

SERVICE, NAME = "bare", "Echo"
OPTIONS = (("grpc.http2.bdp_probe", 0),)
"""As an edge and a cloud have it."""


class EchoServer:
    """Serves in the loop that it is started in; a `WorkerProcess` gives it a process of its own."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._server: Any = None

    async def start(self) -> str:
        """Serve from now on; returns the host:port."""
        self._server = grpc.aio.server(options=OPTIONS)
        handler: Any = grpc.stream_stream_rpc_method_handler(self._echo)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {NAME: handler}),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def _echo(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async for _ in requests:
            await context.write(self._answer)


class EchoStream:
    """A client with one open stream, as an edge has it."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        stream: Any = self._channel.stream_stream(f"/{SERVICE}/{NAME}")
        self._call = stream(wait_for_ready=True)

    async def round_trips_s(self, message: bytes, count: int, pause_s: float = 0.0) -> list[float]:
        """Seconds of `count` round trips, one after the other, each after a pause.

        Raises:
            CloudUnavailable: the stream ended.
        """
        taken = []
        for _ in range(count):
            if pause_s:
                await asyncio.sleep(pause_s)
            began = time.perf_counter()
            await self._call.write(message)
            if await self._call.read() is grpc.aio.EOF:
                raise CloudUnavailable("the echo server ended the stream")
            taken.append(time.perf_counter() - began)
        return taken

    async def close(self) -> None:
        """End the stream."""
        self._call.cancel()
        await self._channel.close(None)
