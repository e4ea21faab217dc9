"""Events as bytes without an end to each piece: over TCP, and on standard input."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import sys
import threading
from collections.abc import Iterator

from edge_client.event_options import EventForm
from edge_client.inputs.live_events.columns import EventColumns
from edge_client.inputs.live_events.counts import StreamCounts
from edge_client.inputs.live_events.feed import IDLE_S, Feed
from edge_client.inputs.live_events.forms import TIME_BITS, Form, decode, form_of
from edge_client.link.backoff import Backoff
from shared.command_line import Address
from shared.datasets.event_type import Sensor
from shared.errors import SourceError

PIECE = 1 << 16
LARGEST_EVENT = 16
"""Bytes; what is needed to tell a form."""

PAUSES = Backoff(first_s=1.0, longest_s=30.0)
"""Between two tries to connect."""

log = logging.getLogger(__name__)


class Unpacker:
    """Pieces of one byte stream to events; an event may lie across two pieces. The first one says which form it is."""

    def __init__(self, form: EventForm, counts: StreamCounts) -> None:
        self._name = form
        self._counts = counts
        self._form: Form | None = None
        self._rest = b""

    def events(self, piece: bytes) -> EventColumns | None:
        """The whole events so far; None where there are none, or they contradict the form and are left out."""
        self._counts.packets += 1
        data = self._rest + piece
        if self._form is None:
            if len(data) < LARGEST_EVENT:
                self._rest = data
                return None
            size = next(size for size in (8, 4, 13) if (form := form_of(self._name, data[:size])) and form[1] == size)
            self._form = self._name, size
        whole = len(data) - len(data) % self._form[1]
        self._rest = data[whole:]
        found = decode(self._form, data[:whole]) if whole else None
        self._counts.malformed += whole > 0 and found is None
        return found


class StdinFeed(Feed):
    """Standard input, to its end."""

    label = None

    def __init__(self, name: str, form: EventForm, counts: StreamCounts) -> None:
        self.name = name
        self.time_bits = TIME_BITS[form]
        self._unpacker = Unpacker(form, counts)
        self._closed = threading.Event()

    @property
    def sensor(self) -> Sensor | None:
        return None

    def batches(self) -> Iterator[EventColumns | None]:
        # Windows can wait for sockets alone.
        while not self._closed.is_set():
            if sys.platform != "win32" and not select.select([0], [], [], IDLE_S)[0]:
                yield None
                continue
            piece = os.read(0, PIECE)
            if not piece:
                return
            if (found := self._unpacker.events(piece)) is not None:
                yield found

    def close(self) -> None:
        self._closed.set()


class TcpFeed(Feed):
    """A sender that is connected to, or without a host one that connects; again whenever it has gone.

    Raises:
        SourceError: nothing can listen there.
    """

    label = None

    def __init__(
        self, name: str, address: Address, form: EventForm, counts: StreamCounts, pauses: Backoff = PAUSES
    ) -> None:
        self.name = name
        self.time_bits = TIME_BITS[form]
        self._address = address
        self._form = form
        self._counts = counts
        self._pauses = pauses
        self._closed = threading.Event()
        self._listener = None if address[0] else _listening(name, address[1])

    @property
    def sensor(self) -> Sensor | None:
        return None

    def batches(self) -> Iterator[EventColumns | None]:
        with contextlib.ExitStack() as opened:
            if self._listener is not None:
                opened.enter_context(self._listener)
                log.info("%s: events can come", self.name)
            failures = 0
            while not self._closed.is_set():
                connection = self._accept() if self._listener is not None else self._connect(failures)
                failures += 1
                if connection is None:
                    yield None
                    continue
                failures = 0
                with connection:
                    yield from self._of(connection)
                log.warning("%s: the sender has gone; waiting for it", self.name)

    def close(self) -> None:
        self._closed.set()

    def _of(self, connection: socket.socket) -> Iterator[EventColumns | None]:
        unpacker = Unpacker(self._form, self._counts)
        connection.settimeout(IDLE_S)
        while not self._closed.is_set():
            try:
                piece = connection.recv(PIECE)
            except TimeoutError:
                yield None
                continue
            except OSError as error:
                log.debug("%s: %s", self.name, error)
                return
            if not piece:
                return
            if (found := unpacker.events(piece)) is not None:
                yield found

    def _accept(self) -> socket.socket | None:
        assert self._listener is not None
        try:
            connection, peer = self._listener.accept()
        except TimeoutError:
            return None
        log.info("%s: events come from %s", self.name, peer[0])
        return connection

    def _connect(self, failures: int) -> socket.socket | None:
        if failures and self._closed.wait(self._pauses.pause_s(failures)):
            return None
        try:
            return socket.create_connection(self._address, timeout=PAUSES.longest_s)
        except OSError as error:
            if not failures:
                log.warning("%s: cannot be connected to (%s); waiting for it", self.name, error.strerror or error)
            return None


def _listening(name: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server(("", port))
    except OSError as error:
        raise SourceError(f"--events {name}: nothing can listen there ({error.strerror})") from None
    listener.settimeout(IDLE_S)
    return listener
