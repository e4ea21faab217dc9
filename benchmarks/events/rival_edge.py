"""The rivals' edge, a process: sends each recording in a form, and waits for its class.

python -m benchmarks.events.rival_edge FORM HOST:PORT BUNDLE OUT RECORDING...
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import click

from benchmarks.events.rivals import RIVALS
from benchmarks.events.whole_server import shape_of
from shared.bundle import Bundle
from shared.command_line import Address, HostPort
from shared.datasets.event_files import read_events


@click.command()
@click.argument("form", type=click.Choice(list(RIVALS)))
@click.argument("address", type=HostPort())
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("recordings", type=click.Path(path_type=Path), nargs=-1, required=True)
def main(form: str, address: Address, bundle: Path, out: Path, recordings: tuple[Path, ...]) -> None:
    """Write a line for each recording: class, bytes, seconds to encode, and from its events to its class."""
    shape, rival = shape_of(Bundle.open(bundle)), RIVALS[form]
    windows = [read_events(path) for path in recordings]
    found = []
    with socket.create_connection(address) as connection, connection.makefile("rwb") as stream:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for path, events in zip(recordings, windows, strict=True):
            began = time.perf_counter()
            data = rival.encode(events, shape)
            encoded = time.perf_counter()
            stream.write(f"{form} {len(data)}\n".encode() + data)
            stream.flush()
            prediction, _ = stream.readline().split()
            ended = time.perf_counter()
            line = {"recording": str(path), "prediction": int(prediction), "bytes": len(data)}
            found.append({**line, "encode_s": encoded - began, "latency_s": ended - began})
    out.write_text("".join(json.dumps(line) + "\n" for line in found))


if __name__ == "__main__":
    main()
