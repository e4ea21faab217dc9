"""Bare gRPC: a process that answers every message of a stream with one of a fixed size, and the time that takes."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from typing import Any

import grpc
import grpc.aio

from shared.errors import CloudUnavailable

METHOD = "Echo"
SERVICE = "bare"
OPTIONS = (("grpc.http2.bdp_probe", 0),)
END_S = 10.0


class EchoProcess:
    """The server. A context manager: its end ends the process."""

    def __init__(self, answer_bytes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, answer_bytes), daemon=True)
        self._process.start()
        there.close()
        self.address: str = self._here.recv()

    def __enter__(self) -> EchoProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._here.close()
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class EchoStream:
    """A client with one open stream, as an edge has it."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        stream: Any = self._channel.stream_stream(f"/{SERVICE}/{METHOD}")
        self._call = stream(wait_for_ready=True)

    async def round_trips_s(self, message: bytes, count: int) -> list[float]:
        """Seconds of `count` round trips, one after the other.

        Raises:
            CloudUnavailable: the stream ended.
        """
        taken = []
        for _ in range(count):
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


def _serve(pipe: Connection, answer_bytes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_run(pipe, answer_bytes))


async def _run(pipe: Connection, answer_bytes: int) -> None:
    answer = bytes(answer_bytes)

    async def echo(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for _message in requests:
            yield answer

    handler: Any = grpc.stream_stream_rpc_method_handler(echo)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(f"127.0.0.1:{port}")
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pipe.fileno(), over.set)  # the other end is closed
    await over.wait()
    loop.remove_reader(pipe.fileno())
    await server.stop(None)
