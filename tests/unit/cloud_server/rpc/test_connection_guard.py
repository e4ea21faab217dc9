"""Which connections the guard ends, on real sockets with a clock of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from cloud_server.rpc.connection_guard import (
    DESCRIPTORS,
    MAX_BYTES,
    MAX_OF_ADDRESS,
    PATIENCE_S,
    ConnectionGuard,
    peer_key,
)

pytestmark = pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="the guard needs Linux")


@dataclass
class Port:
    """A listening port that is watched, in both roles: peers, and the server's ends of their connections."""

    stack: ExitStack
    now: float = 0.0
    ended: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.guard = ConnectionGuard(lambda peer, reason: self.ended.append((peer, reason)), lambda: self.now)
        self.listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        self.guard._port = self.listener.getsockname()[1]

    def connect(self) -> tuple[socket.socket, socket.socket, str]:
        """A peer's socket, the server's, and the peer as gRPC names it."""
        peer = self.stack.enter_context(socket.create_connection(self.listener.getsockname(), timeout=30))
        ours, (host, port) = self.listener.accept()
        self.stack.enter_context(ours)
        return peer, ours, f"ipv4:{host}:{port}"


@pytest.fixture
def port() -> Iterator[Port]:
    with ExitStack() as stack:
        yield Port(stack)


def send(peer: socket.socket, ours: socket.socket, size: int) -> None:
    """Send so many bytes, all of which the server reads."""
    for _ in range(size // 4096):
        peer.sendall(bytes(4096))
        left = 4096
        while left:
            left -= len(ours.recv(left))


def test_who_sends_much_without_a_stream_is_ended_at_once(port: Port) -> None:
    (quiet, its, _), (loud, ours, name) = port.connect(), port.connect()
    port.guard.look()
    send(quiet, its, MAX_BYTES // 2)
    send(loud, ours, 2 * MAX_BYTES)
    port.guard.look()
    assert port.ended == [(name, "bytes")]
    with pytest.raises(ConnectionError):
        loud.recv(1)
    send(quiet, its, 4096)


def test_who_has_a_stream_may_send(port: Port) -> None:
    loud, ours, name = port.connect()
    port.guard.admit(name)
    send(loud, ours, 2 * MAX_BYTES)
    port.guard.look()
    port.guard.look()
    assert port.ended == []


def test_a_few_bytes_for_days_are_well(port: Port) -> None:
    probe, ours, _ = port.connect()
    port.guard.look()
    port.now = 3600.0
    send(probe, ours, 2 * MAX_BYTES)
    port.guard.look()
    assert port.ended == []


def test_of_too_many_without_a_stream_the_oldest_end_once_they_had_their_time(port: Port) -> None:
    names = []
    for _ in range(MAX_OF_ADDRESS + 3):
        names.append(port.connect()[2])
        port.guard.look()
        port.now += 0.01
    assert port.ended == [], "edges that all come back at once have their time"
    port.now += PATIENCE_S
    port.guard.admit(names[0])
    port.guard.look()
    assert port.ended == [(name, "crowd") for name in names[1:3]]


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("ipv4:192.0.2.1:40000", ("192.0.2.1", 40000)),
        ("ipv6:%5B2001:db8::1%5D:40000", ("2001:db8::1", 40000)),
        ("ipv6:%5B::ffff:192.0.2.1%5D:40000", ("192.0.2.1", 40000)),
        ("unix:/run/cloud.sock", None),
    ],
)
def test_names_of_one_peer_have_one_key(peer: str, key: tuple[str, int] | None) -> None:
    assert peer_key(peer) == key
