"""A real broker on loopback for tests, and what it has been told; both always ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.processes import DEADLINE, wait_for
from tests.support.prometheus import ROOT, free_port

FETCHED = ROOT / "build/mosquitto"
"""Where `make mosquitto` puts it."""


class Broker:
    """A mosquitto that can be stopped and started again at the same port, where it remembers nothing.

    Args:
        folder: for its configuration and log.
        settings: lines of its configuration besides the port.
    """

    def __init__(self, folder: Path, settings: Sequence[str] = ("allow_anonymous true",)) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path=FETCHED / "usr/sbin")
        if program is None:
            pytest.skip("no mosquitto here: `make mosquitto` fetches Debian's, or install it")
        self._program = program
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        # Where tests run as root it would drop to a user who may not read the certificates.
        lines = [f"listener {self.port} 127.0.0.1", "user root", "persistence false", *settings, ""]
        self._config.write_text("\n".join(lines))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        libraries = next(iter((FETCHED / "usr/lib").glob("*-linux-gnu*")), FETCHED)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", self._config],
                env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
                stdout=log,
                stderr=log,
            )
        wait_for(self._runs, "mosquitto to run")
        assert self._process.poll() is None, self._log.read_text()

    def stop(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE)
            self._process = None

    def _runs(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or " running\n" in self._log.read_text()


class Subscriber:
    """Hears everything on a broker; subscribed from the beginning, and again after each of its restarts."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, str, bool]] = []
        """Topic, text, and whether the broker had kept it."""
        self.subscribed = 0
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda *_: self._client.subscribe("#", 1)
        self._client.on_subscribe = self._count
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_for(lambda: self.subscribed == 1, "the subscription")

    def lines(self, topic: str) -> list[dict[str, Any]]:
        """The JSON objects that came under this topic."""
        return [json.loads(text) for its, text, _ in list(self.heard) if its == topic]

    def texts(self, topic: str) -> list[str]:
        """The texts that came under this topic."""
        return [text for its, text, _ in list(self.heard) if its == topic]

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _count(self, *_: object) -> None:
        self.subscribed += 1

    def _hear(self, _: Client, __: object, message: MQTTMessage) -> None:
        self.heard.append((message.topic, message.payload.decode(), message.retain))


@contextmanager
def broker(folder: Path, settings: Sequence[str] = ("allow_anonymous true",)) -> Iterator[Broker]:
    """A broker that runs; ended at the end."""
    made = Broker(folder, settings)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def subscriber(at: Broker) -> Iterator[Subscriber]:
    """One that hears all of a broker; closed at the end."""
    hearing = Subscriber(at.port)
    try:
        yield hearing
    finally:
        hearing.close()
