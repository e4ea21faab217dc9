"""The rivals' cloud, a process: takes a window's bytes over TCP, decodes them, runs the whole network, and answers.

    python -m benchmarks.events.whole_server BUNDLE READY_FILE [--listen HOST:PORT]

A request is the form's name and the length, a line, then so many bytes. The answer is a line: class and confidence.
"""

from __future__ import annotations

import json
import socket
import socketserver
from pathlib import Path

import click

from benchmarks.events.rivals import RIVALS, Shape
from benchmarks.testbed.whole_network import WholeNetwork
from shared.bundle import Bundle
from shared.command_line import Address, HostPort


def shape_of(bundle: Bundle) -> Shape:
    """What a bundle of events takes, of a camera of its own size."""
    _, height, width = bundle.manifest.network.input_shape
    return Shape(bundle.manifest.network.timesteps, (height, width))


class Server(socketserver.ThreadingTCPServer):
    """One network; connections one after the other, as a rule."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: Address, bundle: Bundle) -> None:
        self.network = WholeNetwork(bundle, 1)
        self.shape = shape_of(bundle)
        super().__init__(address, Handler)


class Handler(socketserver.StreamRequestHandler):
    """One edge."""

    server: Server

    def handle(self) -> None:
        """Answer until it goes."""
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for line in self.rfile:
            form, _, length = line.decode().strip().partition(" ")
            frames = RIVALS[form].decode(self.rfile.read(int(length)), self.server.shape)
            last = self.server.network.classify(frames, early_exit=True)[-1]
            self.wfile.write(f"{int(last.argmax())} {float(last.max())}\n".encode())


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("ready_file", type=click.Path(path_type=Path))
@click.option("--listen", type=HostPort(), default="127.0.0.1:0")
def main(bundle: Path, ready_file: Path, listen: Address) -> None:
    """Serve until killed; READY_FILE gets the address as JSON."""
    with Server(listen, Bundle.open(bundle)) as server:
        host, port = server.server_address[:2]
        unfinished = ready_file.with_suffix(".part")
        unfinished.write_text(json.dumps({"listen": f"{host!s}:{port}"}))
        unfinished.replace(ready_file)
        server.serve_forever()


if __name__ == "__main__":
    main()
