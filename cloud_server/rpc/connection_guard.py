"""Ends connections that cost much before anybody was let in. gRPC's core has no limit for these; the kernel knows them.

A thread looks at this process's sockets some times a second. Of each connection on which no stream was accepted yet,
the kernel says how much it has received. A connection beyond the limits is reset, and gRPC then frees what it kept for
it. Needs Linux; elsewhere nothing is watched.
"""

from __future__ import annotations

import ctypes
import ipaddress
import logging
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from cloud_server.rpc.identity import address_of

log = logging.getLogger(__name__)

Reason = Literal["bytes", "crowd"]
PeerKey = tuple[str, int]
"""A peer's address in its shortest form, and its port."""

INTERVAL_S = 0.25
MAX_BYTES, BYTES_PER_S = 256 * 1024, 1024
"""What a connection may send before it has an accepted stream: at once, and with each second. A handshake and headers
are some KB; a balancer's health checks, twice a second for days, stay below the second number."""
PATIENCE_S = 10.0
"""Seconds in which a connection may have no stream, however many others there are."""
MAX_OF_ADDRESS, MAX_IN_ALL = 64, 256
"""Connections without a stream that may be older than that, of one address and in all. Beyond, the oldest end."""

DESCRIPTORS = Path("/proc/self/fd")
NO_ADDRESS = bytes(16)
"""struct sockaddr of family AF_UNSPEC, 0."""
BYTES_RECEIVED = 128
"""Offset of tcpi_bytes_received in the kernel's struct tcp_info, in bytes."""


@dataclass(eq=False)
class _Connection:
    peer: str
    key: PeerKey
    since: float
    descriptor: int = -1


class ConnectionGuard:
    """Watches the connections of one listening port.

    Args:
        on_ended: called with the peer, as gRPC names it, and the reason; in the guard's thread.
        clock: monotonic seconds.
    """

    def __init__(self, on_ended: Callable[[str, Reason], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._on_ended = on_ended
        self._clock = clock
        self._port = 0
        self._connections: dict[int, _Connection | None] = {}
        """By the socket's inode; None for a socket that is not a connection of the port."""
        self._admitted: set[PeerKey] = set()
        self._new: set[PeerKey] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def start(self, port: int) -> None:
        """Watch the connections of a port from now on."""
        self._port = port
        if DESCRIPTORS.is_dir():
            threading.Thread(target=self._run, name="connection-guard", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def admit(self, peer: str) -> None:
        """A stream of this peer was accepted: its connection is no longer watched."""
        if (key := peer_key(peer)) is not None:
            with self._lock:
                self._new.add(key)

    def look(self) -> None:
        """Look at all connections once, and end those beyond the limits."""
        unknown, now = self._without_stream(), self._clock()
        if not unknown:
            return
        for connection in list(unknown):
            if _bytes_received(connection) > MAX_BYTES + BYTES_PER_S * (now - connection.since):
                unknown.remove(connection)
                self._end(connection, "bytes")
        in_all, of_address = len(unknown), Counter(address_of(connection.peer) for connection in unknown)
        for connection in sorted(unknown, key=lambda each: each.since):
            address = address_of(connection.peer)
            crowded = in_all > MAX_IN_ALL or of_address[address] > MAX_OF_ADDRESS
            if crowded and now - connection.since > PATIENCE_S:
                in_all -= 1
                of_address[address] -= 1
                self._end(connection, "crowd")

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            try:
                self.look()
            except Exception:
                log.exception("the connections were not looked at")

    def _without_stream(self) -> list[_Connection]:
        """The port's connections of which no stream was accepted."""
        now, found = self._clock(), _sockets()
        self._connections = {inode: each for inode, each in self._connections.items() if inode in found}
        for inode, descriptor in found.items():
            if inode not in self._connections:
                peer = _peer_at(descriptor, inode, self._port)
                key = None if peer is None else peer_key(peer)
                self._connections[inode] = None if peer is None or key is None else _Connection(peer, key, now)
            if (known := self._connections[inode]) is not None:
                known.descriptor = descriptor
        live = {inode: each for inode, each in self._connections.items() if each is not None}
        keys = {each.key for each in live.values()}
        with self._lock:
            self._admitted = (self._admitted & keys) | self._new
            self._new = set()
        return [each for each in live.values() if each.key not in self._admitted]

    def _end(self, connection: _Connection, reason: Reason) -> None:
        with _duplicate(connection.descriptor) as its_socket:
            if its_socket is None or _peer_of(its_socket) != connection.peer:
                return  # it has ended, and its descriptor may be another's
            _reset(its_socket)
        self._on_ended(connection.peer, reason)


def _reset(its_socket: socket.socket) -> None:
    """End a connection at once, with an RST to the peer and an error for gRPC, which then closes its own descriptor.

    After `shutdown` alone gRPC was seen to keep a connection for two minutes more. To connect to no address (AF_UNSPEC)
    is how Linux dissolves a connection; Python's own `connect` does not know it.
    """
    ctypes.CDLL(None).connect(its_socket.fileno(), NO_ADDRESS, len(NO_ADDRESS))


def peer_key(peer: str) -> PeerKey | None:
    """The key of a peer as gRPC names it, such as `ipv4:192.0.2.1:40000`; None if it has no port."""
    kind, _, rest = peer.partition(":")
    host, _, port = unquote(rest).rpartition(":")
    if not kind.startswith("ipv") or not port.isdecimal():
        return None
    address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped), int(port)
    return str(address), int(port)


def _sockets() -> dict[int, int]:
    """The descriptors of this process's sockets, by inode."""
    found = {}
    for entry in DESCRIPTORS.iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115  Path's takes three times as long
        except OSError:
            continue  # closed since
        if target.startswith("socket:["):
            found[int(target[8:-1])] = int(entry.name)
    return found


class _duplicate:  # noqa: N801  used as a function
    """A socket object of its own for a descriptor of gRPC's; None if that is closed. A context manager."""

    def __init__(self, descriptor: int) -> None:
        try:
            self._socket: socket.socket | None = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            self._socket = None

    def __enter__(self) -> socket.socket | None:
        return self._socket

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()


def _peer_at(descriptor: int, inode: int, port: int) -> str | None:
    """The peer of a connection to `port`, as gRPC names it; None if the descriptor is something else."""
    with _duplicate(descriptor) as its_socket:
        if its_socket is None or os.fstat(its_socket.fileno()).st_ino != inode:
            return None
        if its_socket.family not in (socket.AF_INET, socket.AF_INET6) or its_socket.type != socket.SOCK_STREAM:
            return None
        return _peer_of(its_socket) if its_socket.getsockname()[1] == port else None


def _peer_of(its_socket: socket.socket) -> str | None:
    try:
        host, port = its_socket.getpeername()[:2]
    except OSError:
        return None  # it listens, or has ended
    host = host.removeprefix("::ffff:")  # an IPv4 peer of a socket for both
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _bytes_received(connection: _Connection) -> int:
    """What the kernel has received of a connection, in bytes; 0 if it has ended."""
    with _duplicate(connection.descriptor) as its_socket:
        if its_socket is None or _peer_of(its_socket) != connection.peer:
            return 0
        information = its_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_RECEIVED + 8)
    if len(information) < BYTES_RECEIVED + 8:
        return 0  # a kernel that does not count them
    return int(struct.unpack_from("=Q", information, BYTES_RECEIVED)[0])
