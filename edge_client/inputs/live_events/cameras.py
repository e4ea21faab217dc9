"""Cameras of this machine and dv-processing's network stream, by libraries that are installed on their own.

Camera and library are theirs: here their batches become columns. What was tried is in docs/events.md.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from edge_client.inputs.live_events.columns import EventColumns
from edge_client.inputs.live_events.feed import IDLE_S, Feed
from edge_client.link.backoff import Backoff
from shared.command_line import Address
from shared.datasets.event_type import Sensor
from shared.errors import ConfigError, SourceError

POLL_S = 0.002
"""dv-processing is asked this often."""

PAUSES = Backoff(first_s=1.0, longest_s=30.0)

log = logging.getLogger(__name__)


class DvFeed(Feed):
    """dv-processing: its network stream at `address`, or without one the first of its cameras here.

    Raises:
        ConfigError: dv-processing is not installed.
        SourceError: there is no camera.
    """

    label = None
    time_bits = 64

    def __init__(self, name: str, address: Address | None = None, pauses: Backoff = PAUSES) -> None:
        self.name = name
        self._io = _library("dv_processing", "pip install '.[dv]'").io
        self._address = address
        self._pauses = pauses
        self._closed = threading.Event()
        self._sensor: Sensor | None = None
        self._camera = None if address is not None else self._open_camera()

    @property
    def sensor(self) -> Sensor | None:
        return self._sensor

    def batches(self) -> Iterator[EventColumns | None]:
        reader, failures = self._camera, 0
        while not self._closed.is_set():
            if reader is None and (reader := self._connect(failures)) is None:
                failures += 1
                yield None
                continue
            failures = 0
            yield from self._of(reader)
            if self._closed.is_set():
                return
            if self._address is None:
                raise SourceError(f"--events {self.name}: the camera gives no more events: is it unplugged?")
            log.warning("%s: the sender has gone; waiting for it", self.name)
            reader = None

    def close(self) -> None:
        self._closed.set()

    def _of(self, reader: Any) -> Iterator[EventColumns | None]:
        quiet = 0
        while not self._closed.is_set() and reader.isRunning():
            store = reader.getNextEventBatch()
            if store is not None and store.size():
                quiet = 0
                events = store.numpy()
                yield EventColumns(events["x"], events["y"], events["polarity"].astype(np.bool_), events["timestamp"])
                continue
            self._closed.wait(POLL_S)
            quiet += 1
            if quiet * POLL_S >= IDLE_S:
                quiet = 0
                yield None

    def _connect(self, failures: int) -> Any | None:
        assert self._address is not None
        if failures and self._closed.wait(self._pauses.pause_s(failures)):
            return None
        host, port = self._address
        try:
            reader = self._io.NetworkReader(host, port)
        except RuntimeError as error:
            if not failures:
                log.warning("%s: cannot be connected to (%s); waiting for it", self.name, error)
            return None
        self._learn_sensor(reader)
        return reader

    def _open_camera(self) -> Any:
        try:
            camera = self._io.camera.open()
        except (RuntimeError, IndexError) as error:  # its list of cameras is empty
            raise SourceError(f"--events {self.name}: dv-processing finds no camera ({error})") from None
        self._learn_sensor(camera)
        return camera

    def _learn_sensor(self, reader: Any) -> None:
        if (size := reader.getEventResolution()) is not None:
            width, height = size
            self._sensor = height, width


class FaeryFeed(Feed):
    """The first camera that faery finds, with the driver that is installed beside it.

    Raises:
        ConfigError: faery is not installed.
        SourceError: there is no camera.
    """

    label = None
    time_bits = 64

    def __init__(self, name: str) -> None:
        self.name = name
        self._closed = threading.Event()
        faery = _library("faery", "pip install '.[faery]'")
        try:
            self._stream = faery.events_stream_from_camera()
            width, height = self._stream.dimensions()
        except Exception as error:  # the drivers raise what they like
            raise SourceError(f"--events {name}: faery finds no camera ({error})") from None
        self._size = height, width

    @property
    def sensor(self) -> Sensor | None:
        return self._size

    def batches(self) -> Iterator[EventColumns | None]:
        for events in self._stream:
            if self._closed.is_set():
                return
            yield EventColumns(events["x"], events["y"], events["on"].astype(np.bool_), events["t"])

    def close(self) -> None:
        self._closed.set()


def _library(module: str, how: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(f"this needs {module}: {how} in a checkout") from None
