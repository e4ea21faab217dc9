"""Counts what passes a port on loopback: packets, bytes with their headers, HTTP/2's frames where they are in clear.

Linux, root. Loopback shows each packet leaving and arriving; it is counted once, when it leaves.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator

PROTOCOLS = {6: "tcp", 17: "udp"}
HTTP2_FRAMES = {0: "DATA", 1: "HEADERS", 4: "SETTINGS", 6: "PING", 8: "WINDOW_UPDATE"}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
OUTGOING = 4
ALL_PROTOCOLS = 3
BUFFER = 1 << 24


class PacketCounter:
    """Counts while it is open, see `counting`; `counts` has names such as "up packets" (up: towards the port)."""

    def __init__(self, port: int) -> None:
        self.counts: Counter[str] = Counter()
        self._port = port
        self._rest = {"up": b"", "down": b""}
        self._ended = threading.Event()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.bind(("lo", 0))
        self._socket.settimeout(0.1)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                packet, address = self._socket.recvfrom(1 << 17)
                if address[2] == OUTGOING and packet[0] >> 4 == 4 and packet[9] in PROTOCOLS:
                    self._count(packet)

    def _count(self, packet: bytes) -> None:
        header = (packet[0] & 15) * 4
        size, source, target = *struct.unpack_from(">H", packet, 2), *struct.unpack_from(">HH", packet, header)
        if self._port not in (source, target):
            return
        way = "up" if target == self._port else "down"
        tcp = PROTOCOLS[packet[9]] == "tcp"
        header += (packet[header + 12] >> 4) * 4 if tcp else 8
        self.counts.update({f"{way} packets": 1, f"{way} bytes": size, f"{way} header bytes": header})
        if not tcp:
            return
        self.counts[f"{way} packets without data"] += size == header
        data = (self._rest[way] + packet[header:size]).removeprefix(PREFACE)
        while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
            name = HTTP2_FRAMES.get(data[3], "other")
            self.counts.update({f"{way} {name} bytes": end})
            data = data[end:]
        self._rest[way] = data


@contextlib.contextmanager
def counting(port: int) -> Iterator[PacketCounter]:
    """A counter for the block."""
    counter = PacketCounter(port)
    try:
        yield counter
    finally:
        counter.close()
