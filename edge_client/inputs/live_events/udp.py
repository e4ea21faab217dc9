"""Events in datagrams: aestream's and faery's output, SpiNNaker's interface board."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator

from edge_client.event_options import EventForm
from edge_client.inputs.live_events.columns import EventColumns
from edge_client.inputs.live_events.counts import StreamCounts
from edge_client.inputs.live_events.feed import IDLE_S, Feed
from edge_client.inputs.live_events.forms import TIME_BITS, decode_datagrams
from shared.command_line import Address
from shared.datasets.event_type import Sensor
from shared.errors import SourceError

RECEIVE_BYTES = 4 << 20
"""What is asked of the system for datagrams that wait; it gives no more than its net.core.rmem_max, but to root."""

SO_RCVBUFFORCE = 33
"""Linux: as SO_RCVBUF, without the limit, for who may change the network. Python has no name for it."""

LARGEST = 1 << 16

GATHER_BYTES, GATHER_S = 8192, 0.002
"""Fewer bytes than this are worth a short wait for more: arrays have a price each, whatever their length."""

MOST_TOGETHER = 512
"""Datagrams."""

SO_RXQ_OVFL = 40
"""Linux: with each datagram comes how many the socket has dropped so far. Python has no name for it."""


log = logging.getLogger(__name__)


class UdpFeed(Feed):
    """Datagrams at an address. It never ends by itself.

    Raises:
        SourceError: the address is taken, or none of this machine's.
    """

    label = None

    def __init__(self, name: str, address: Address, form: EventForm, counts: StreamCounts) -> None:
        self.name = name
        self.time_bits = TIME_BITS[form]
        self._form = form
        self._counts = counts
        self._closed = threading.Event()
        self._tells_drops = sys.platform == "linux"
        self._socket = _bound(name, address)
        if self._tells_drops:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)

    @property
    def sensor(self) -> Sensor | None:
        return None

    def batches(self) -> Iterator[EventColumns | None]:
        log.info("%s: events can come", self.name)
        with self._socket:
            while not self._closed.is_set():
                datagrams = self._receive()
                if not datagrams:
                    yield None
                    continue
                self._counts.packets += len(datagrams)
                for found in decode_datagrams(self._form, datagrams):
                    if isinstance(found, int):
                        self._counts.malformed += found
                    else:
                        yield found

    def close(self) -> None:
        self._closed.set()

    def _receive(self) -> list[bytes]:
        """What has come, after a wait for the first; empty where none came."""
        self._socket.settimeout(IDLE_S)
        try:
            datagrams = [self._first()]
        except TimeoutError:
            return []
        self._socket.setblocking(False)
        self._drain(datagrams)
        if sum(map(len, datagrams)) < GATHER_BYTES:
            time.sleep(GATHER_S)
            self._drain(datagrams)
        return datagrams

    def _first(self) -> bytes:
        if not self._tells_drops:
            return self._socket.recv(LARGEST)
        data, extra, _, _ = self._socket.recvmsg(LARGEST, socket.CMSG_SPACE(4))
        for level, kind, value in extra:
            if level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL:
                (self._counts.dropped_packets,) = struct.unpack("I", value[:4])
        return data

    def _drain(self, datagrams: list[bytes]) -> None:
        try:
            while len(datagrams) < MOST_TOGETHER:
                datagrams.append(self._socket.recv(LARGEST))
        except BlockingIOError:
            return


def _make_room(found: socket.socket) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(PermissionError):
            found.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
            return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)


def _bound(name: str, address: Address) -> socket.socket:
    host, port = address
    try:
        family, kind, _, _, at = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind)
    except OSError as error:
        raise SourceError(f"--events {name}: {error.strerror or error}") from None
    try:
        _make_room(found)
        found.bind(at)
    except OSError as error:
        found.close()
        raise SourceError(f"--events {name}: cannot be received at ({error.strerror})") from None
    return found
