"""What a link is like from within: round trips and bulk rates over TCP. `python -m benchmarks.links.probe`.

ping is not everywhere; a byte to and fro over a warm connection takes the same way.
"""

from __future__ import annotations

import json
import select
import socket
import socketserver
import sys
import time
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from shared.command_line import split_address

BLOCK = 16384
TIMEOUT_S = 60.0
WARM_S = 0.3
"""TCP's slow start, twice over; not counted, and more on long links."""


class _Answers(socketserver.StreamRequestHandler):
    """The first line says what is asked: {"way": "echo", "up" or "down", "seconds": S, "warm": S}."""

    timeout = TIMEOUT_S
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            asked = json.loads(self.rfile.readline())
            if asked["way"] == "echo":
                while data := self.rfile.read1(64):
                    self.wfile.write(data)
            elif asked["way"] == "down":
                until, block = time.perf_counter() + asked["seconds"] + asked["warm"], bytes(BLOCK)
                while time.perf_counter() < until:
                    self.wfile.write(block)
            else:
                rate = _mbit(self.rfile, asked["seconds"], asked["warm"])
                self.wfile.write(f"{rate}\n".encode())
                while self.rfile.read1(BLOCK):  # what was still under way
                    continue
        except (OSError, ValueError):
            return  # the side that asked is gone


def serve(address: str, ready_file: Path) -> None:
    """Answer probes until killed; the address taken goes to `ready_file`."""
    socketserver.ThreadingTCPServer.daemon_threads = True
    host, port = split_address(address)
    with socketserver.ThreadingTCPServer((host, port), _Answers) as server:
        ready_file.write_text(json.dumps({"listen": f"{host}:{server.server_address[1]}"}))
        server.serve_forever()


def measure(address: str, seconds: float, round_trips: int) -> dict[str, float]:
    """Median and p95 round trip (ms), and rates each way (Mbit/s) of `seconds` of bulk TCP.

    Raises:
        OSError: nobody answers there.
    """
    times = []
    with _connect(address, "echo") as connection:
        for _ in range(round_trips + 1):
            began = time.perf_counter()
            connection.sendall(b".")
            if not connection.recv(1):
                raise ConnectionError("the probe's other end has closed")
            times.append(time.perf_counter() - began)
    rtt, slow = (float(value) for value in np.percentile(times[1:], (50, 95)))
    warm = WARM_S + 6 * rtt
    with _connect(address, "down", seconds, warm) as connection, connection.makefile("rb") as coming:
        down = _mbit(coming, seconds, warm)
    with _connect(address, "up", seconds, warm) as connection, connection.makefile("rb") as answer:
        # The receiver's clock began later: what ends this is its answer, or it would wait for bytes that never come.
        while not select.select([connection], [], [], 0.0)[0]:
            connection.sendall(bytes(BLOCK))
        up = float(answer.readline())
    return {"rtt_ms": rtt * 1000, "rtt_p95_ms": slow * 1000, "down_mbit": down, "up_mbit": up}


def _connect(address: str, way: str, seconds: float = 0.0, warm_s: float = 0.0) -> socket.socket:
    connection = socket.create_connection(split_address(address), TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(json.dumps({"way": way, "seconds": seconds, "warm": warm_s}).encode() + b"\n")
    return connection


def _mbit(coming: BufferedIOBase, seconds: float, warm_s: float) -> float:
    """What comes between the end of the warm-up and the end, Mbit/s."""
    began = first = last = time.perf_counter()
    counted = 0
    while last < began + warm_s + seconds and (data := coming.read1(BLOCK)):
        last = time.perf_counter()
        if last < began + warm_s:
            first = last
        else:
            counted += len(data)
    return counted * 8 / 1e6 / max(last - first, 1e-9)


def main() -> None:
    """`serve HOST:PORT READY_FILE` or `measure HOST:PORT SECONDS ROUND_TRIPS`; the latter prints JSON."""
    what, address, *more = sys.argv[1:]
    if what == "serve":
        serve(address, Path(more[0]))
    else:
        print(json.dumps(measure(address, float(more[0]), int(more[1]))))


if __name__ == "__main__":
    main()
