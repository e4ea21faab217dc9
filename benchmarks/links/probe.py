"""What a link is like from within: round trips and bulk rates over TCP. `python -m benchmarks.links.probe`.

ping is not everywhere, and does not go through a proxy; a byte to and fro over a warm connection takes the same way.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np

ECHO, SINK, SOURCE = b"e", b"u", b"d"
BLOCK = 16384
TIMEOUT_S = 60.0
WARM_S = 0.3
"""TCP's slow start, twice over; not counted, and more on long links."""


def serve(address: str, ready_file: Path) -> None:
    """Answer probes until killed; the address taken goes to `ready_file`."""
    host, _, port = address.rpartition(":")
    with socket.create_server((host, int(port))) as server:
        ready_file.write_text(json.dumps({"listen": f"{host}:{server.getsockname()[1]}"}))
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def measure(address: str, seconds: float, round_trips: int) -> dict[str, float]:
    """Median and p95 round trip (ms), and rates each way (Mbit/s) of `seconds` of bulk TCP.

    Raises:
        OSError: nobody answers there.
    """
    times = _round_trips(address, round_trips)
    rtt = float(np.median(times))
    warm = WARM_S + 6 * rtt
    return {
        "rtt_ms": rtt * 1000,
        "rtt_p95_ms": float(np.percentile(times, 95)) * 1000,
        "down_mbit": _rate(address, SOURCE, seconds, warm),
        "up_mbit": _rate(address, SINK, seconds, warm),
    }


def _round_trips(address: str, count: int) -> list[float]:
    times = []
    with _connect(address, ECHO) as connection:
        for _ in range(count + 1):
            began = time.perf_counter()
            connection.sendall(b".")
            if not connection.recv(1):
                raise ConnectionError("the probe's other end has closed")
            times.append(time.perf_counter() - began)
    return times[1:]


def _rate(address: str, way: bytes, seconds: float, warm_s: float) -> float:
    """What the receiver got between the end of the warm-up and the end."""
    request = json.dumps({"seconds": seconds, "warm": warm_s}).encode() + b"\n"
    with _connect(address, way) as connection:
        connection.sendall(request)
        if way == SOURCE:
            return _receive(connection, seconds, warm_s)
        # The receiver's clock began later: what ends this is its answer, or it would wait for bytes that never come.
        while not select.select([connection], [], [], 0.0)[0]:
            connection.sendall(bytes(BLOCK))
        with connection.makefile("rb") as answer:
            return float(json.loads(answer.readline()))


def _connect(address: str, kind: bytes) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(kind)
    return connection


def _receive(connection: socket.socket, seconds: float, warm_s: float) -> float:
    """Mbit/s."""
    began = first = last = time.perf_counter()
    counted = 0
    while last < began + warm_s + seconds and (data := connection.recv(BLOCK)):
        last = time.perf_counter()
        if last < began + warm_s:
            first = last
        else:
            counted += len(data)
    return counted * 8 / 1e6 / max(last - first, 1e-9)


def _send(connection: socket.socket, seconds: float) -> None:
    until, block = time.perf_counter() + seconds, bytes(BLOCK)
    while time.perf_counter() < until:
        connection.sendall(block)


def _answer(connection: socket.socket) -> None:
    with connection:
        connection.settimeout(TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            kind = connection.recv(1)
            if kind == ECHO:
                while data := connection.recv(64):
                    connection.sendall(data)
                return
            line = b""
            while not line.endswith(b"\n") and (byte := connection.recv(1)):
                line += byte
            asked = json.loads(line)
            if kind == SOURCE:
                _send(connection, asked["seconds"] + asked["warm"])
            elif kind == SINK:
                rate = _receive(connection, asked["seconds"], asked["warm"])
                connection.sendall(f"{rate}\n".encode())
                while connection.recv(BLOCK):  # what was still under way; it is not the sender's to wait for
                    continue
        except (OSError, ValueError):
            return  # the side that asked is gone


def main() -> None:
    """`serve HOST:PORT READY_FILE` or `measure HOST:PORT SECONDS ROUND_TRIPS`; the latter prints JSON."""
    what, address, *more = sys.argv[1:]
    if what == "serve":
        serve(address, Path(more[0]))
    else:
        print(json.dumps(measure(address, float(more[0]), int(more[1]))))


if __name__ == "__main__":
    main()
