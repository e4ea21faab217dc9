"""A TCP relay that can go dark: nothing passes any more, and neither end notices, as when a cable is pulled."""

from __future__ import annotations

import asyncio
from types import TracebackType


class DarkLink:
    """Relays connections on a port of its own to `address`, until `darken`. A context manager."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._light = asyncio.Event()
        self._light.set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._ends: list[asyncio.StreamWriter] = []
        self.listen = ""

    async def __aenter__(self) -> DarkLink:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.listen = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for end in self._ends:
            end.close()

    def darken(self) -> None:
        """From now on bytes are taken from neither side; the connections stay."""
        self._light.clear()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._ends += [writer, far_writer]
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            await self._light.wait()
            sink.write(data)
            await sink.drain()
        await self._light.wait()
        sink.close()
