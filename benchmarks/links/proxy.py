"""A link on loopback that can be slow and can break: a TCP proxy that delays, counts, and is cut in three ways."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from functools import partial
from typing import Literal, get_args

from benchmarks.worker import WorkerProcess
from shared.command_line import split_address

CutKind = Literal["closed", "stalled", "dropped"]
"""closed: connections are reset, and new ones too. stalled: bytes wait, and go on when the link is mended. dropped:
bytes vanish without a word, as on a path that is gone; when the link is mended the connections of before are reset."""

CUTS: tuple[CutKind, ...] = get_args(CutKind)

CHUNK = 65536
Delayed = asyncio.Queue[tuple[float, bytes]]
"""When to write what; no bytes are the end."""


class DelayProxy:
    """Leads to `address` (HOST:PORT); each byte takes `delay_s` in either direction.

    `counted` has the bytes that came from either side, "up" and "down", and the connections that were "refused".
    What TCP itself sends (handshakes, acknowledgements) is not delayed: it ends here.
    """

    def __init__(self, address: str, delay_s: float = 0.0) -> None:
        self.counted: Counter[str] = Counter()
        self._there = split_address(address)
        self._delay_s = delay_s
        self._cut: CutKind | None = None
        self._mended = asyncio.Event()
        self._mended.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen on a free port of loopback; where."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def cut(self, how: CutKind) -> None:
        """Break the link until it is mended."""
        self._cut = how
        self._mended.clear()
        if how == "closed":
            self._reset_all()

    async def mend(self) -> None:
        """Let bytes flow again."""
        if self._cut == "dropped":
            self._reset_all()
        self._cut = None
        self._mended.set()

    async def close(self) -> None:
        """Reset everything and listen no more."""
        if self._server is not None:
            self._server.close()
        self._reset_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._cut == "closed":
                raise ConnectionError("cut")
            there_reader, there_writer = await asyncio.open_connection(*self._there)
        except OSError:
            self.counted["refused"] += 1
            _reset(writer)
            return
        for source, sink, name in ((reader, there_writer, "up"), (there_reader, writer, "down")):
            self._writers.add(sink)
            task = asyncio.create_task(self._pump(source, sink, name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        """Read as bytes come, and have each chunk written when its time is up."""
        loop = asyncio.get_running_loop()
        waiting: Delayed = asyncio.Queue()
        sending = asyncio.create_task(self._send(waiting, writer))
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(CHUNK):
                    self.counted[name] += len(data)
                    if self._cut != "dropped":
                        waiting.put_nowait((loop.time() + self._delay_s, data))
            waiting.put_nowait((loop.time() + self._delay_s, b""))
            await sending
        finally:
            sending.cancel()
            self._writers.discard(writer)

    async def _send(self, waiting: Delayed, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while True:
                due, data = await waiting.get()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                if self._cut == "stalled":
                    await self._mended.wait()
                if not data:
                    break
                if self._cut != "dropped":
                    writer.write(data)
                    await writer.drain()
        writer.close()

    def _reset_all(self) -> None:
        for writer in self._writers:
            _reset(writer)


class LinkProcess(WorkerProcess[DelayProxy]):
    """A `DelayProxy` in a process of its own, at `address`: it takes no time from the loop that is measured."""

    def __init__(self, address: str, delay_s: float = 0.0) -> None:
        super().__init__(partial(DelayProxy, address, delay_s))
        self.address = self.call(DelayProxy.start)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
