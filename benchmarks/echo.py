"""Bare gRPC: streams of bytes, a server for them, and an echo that answers each message with the same bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from shared.errors import CloudUnavailable

OPTIONS = (("grpc.http2.bdp_probe", 0),)
"""As an edge and a cloud have it: no pings of gRPC's own."""

ECHO = "/bare/Echo"
ByteServer = Callable[[AsyncIterator[bytes], Any], AsyncIterator[bytes]]


async def serve(method: str, answer: ByteServer, listen: str, *options: tuple[str, int]) -> tuple[Any, str]:
    """Serve streams from now on; returns the server and its HOST:PORT.

    Args:
        method: /SERVICE/NAME.
        answer: called for each stream.
        listen: HOST:PORT; port 0 takes a free one.
        options: of gRPC, beside ours.
    """
    server = grpc.aio.server(options=(*OPTIONS, *options))
    service, name = method[1:].split("/")
    handler: Any = grpc.stream_stream_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    address = f"{listen.rpartition(':')[0]}:{server.add_insecure_port(listen)}"
    await server.start()
    return server, address


class ByteStream:
    """An open stream on a connection of its own, as an edge has it.

    Args:
        address: the server's HOST:PORT.
        method: /SERVICE/NAME.
        options: of gRPC, beside ours.
        metadata: sent with the stream.
    """

    def __init__(
        self, address: str, method: str, *options: tuple[str, int], metadata: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=(*OPTIONS, *options))
        stream: Any = self._channel.stream_stream(method)
        self._call = stream(wait_for_ready=True, metadata=metadata)

    async def send(self, message: bytes) -> None:
        """Send a message that has no answer."""
        await self._call.write(message)

    async def ask(self, message: bytes) -> bytes:
        """Send a message and wait for the answer.

        Raises:
            CloudUnavailable: the stream ended.
        """
        await self._call.write(message)
        answer = await self._call.read()
        if answer is grpc.aio.EOF:
            raise CloudUnavailable(f"a stream ended: {await self._call.code()} {await self._call.details()}")
        said: bytes = answer
        return said

    async def round_trips_s(self, message: bytes, count: int, pause_s: float = 0.0) -> list[float]:
        """Seconds of `count` round trips, one after the other, each after a pause."""
        taken = []
        for _ in range(count):
            if pause_s:
                await asyncio.sleep(pause_s)
            began = time.perf_counter()
            await self.ask(message)
            taken.append(time.perf_counter() - began)
        return taken

    async def aclose(self) -> None:
        """Cut stream and connection, whatever is under way."""
        self._call.cancel()
        await self._call.code()  # what gRPC still has to do must be done before the channel goes
        await self._channel.close(None)


class EchoServer:
    """Serves in the loop that it is started in; a `WorkerProcess` gives it a process of its own."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._server: Any = None

    async def start(self) -> str:
        """Serve from now on; returns the HOST:PORT."""
        self._server, address = await serve(ECHO, self._echo, "127.0.0.1:0")
        return address

    async def _echo(self, requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield self._answer
