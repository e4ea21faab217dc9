"""A peer that speaks HTTP/2 and takes no data: its windows are closed, so whatever is written to it stays unwritten.

gRPC's own clients open their windows as they please; this one holds a server to what a hostile peer may do. It answers
pings, so that it counts as alive.
"""

from __future__ import annotations

import asyncio
import struct
from types import TracebackType

from tests.support.processes import DEADLINE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
ACK = END_STREAM = 1
END_HEADERS = 4
INITIAL_WINDOW_SIZE = 4


class DeafPeer:
    """One connection. A context manager."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._next = 1
        self._answered: set[int] = set()
        self._news = asyncio.Condition()

    async def __aenter__(self) -> DeafPeer:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._writer.write(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)))
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.cancel()
        self._writer.close()

    def call(self, method: str, *messages: bytes, half_close: bool = True) -> int:
        """Begin a call of `/service/method` with these messages; returns its stream's number."""
        number, self._next = self._next, self._next + 2
        self._writer.write(request_headers(number, method))
        body = b"".join(b"\0" + struct.pack(">I", len(message)) + message for message in messages)
        self._writer.write(frame(DATA, END_STREAM if half_close else 0, number, body))
        return number

    async def answer(self, number: int) -> None:
        """Wait until the server has begun to answer a call, or has refused it."""
        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(lambda: number in self._answered)

    async def _listen(self) -> None:
        while head := await self._reader.read(9):
            head += await self._reader.readexactly(9 - len(head))
            kind, flags, number = struct.unpack(">BBI", head[3:])
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            if kind in (SETTINGS, PING) and not flags & ACK:
                self._writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind in (HEADERS, RST_STREAM):
                async with self._news:
                    self._answered.add(number)
                    self._news.notify_all()
        self._writer.close()


def request_headers(stream: int, method: str, *, last: bool = True) -> bytes:
    """The headers of a call of `/service/method`; if they are not the last, CONTINUATION frames must follow."""
    headers = {
        ":method": "POST", ":scheme": "http", ":path": method, ":authority": "cloud",
        "content-type": "application/grpc", "te": "trailers",
    }  # fmt: skip
    return frame(HEADERS, END_HEADERS if last else 0, stream, b"".join(map(literal, headers, headers.values())))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header in HPACK: not indexed, not compressed, neither part longer than 126 bytes."""
    return b"".join((b"\0", bytes([len(name)]), name.encode(), bytes([len(value)]), value.encode()))
