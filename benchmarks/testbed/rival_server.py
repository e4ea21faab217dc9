"""The cloud that a user would otherwise build: the plain ONNX network behind BentoML, fed with picture files by HTTP.

Run as `python -m benchmarks.testbed.rival_server`; only ever on the testbed's own network. BentoML's service runs in
uvicorn, as BentoML itself runs it, in one process: the testbed has one edge.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import bentoml
import click
import numpy as np
import uvicorn
from PIL import Image

from benchmarks.json_file import write_json
from benchmarks.testbed.plain_network import PlainNetwork
from shared.command_line import existing_path, option, run
from shared.pictures import MODES

PATH = "/classify"
LONGEST_S = 600


def application(network: PlainNetwork) -> Any:
    """The ASGI application: a picture's file in the body of a POST to PATH, a class and its probability back."""

    @bentoml.service(name="rival", traffic={"timeout": LONGEST_S}, metrics={"enabled": False})
    class Rival:
        @bentoml.api  # type: ignore[untyped-decorator]
        def classify(self, picture: Image.Image, /) -> dict:  # type: ignore[type-arg]
            """The likeliest class, its probability, and the milliseconds that the network took."""
            began = time.perf_counter()
            rows = np.asarray(picture.convert(MODES[network.channels]))
            pixels = rows[np.newaxis] if rows.ndim == 2 else rows.transpose(2, 0, 1)
            found = network.classify(np.ascontiguousarray(pixels))
            best = int(found.argmax())
            return {
                "class": best,
                "p": round(float(found[best]), 4),
                "ms": round(1e3 * (time.perf_counter() - began), 2),
            }

    served: Any = Rival  # the decorator makes a service of the class
    return served.to_asgi()


@click.command()
@option("--graph", type=existing_path, required=True, help="The plain network.")
@option("--listen", default="127.0.0.1:0", help="Where; port 0 takes a free one.")
@option("--threads", type=int, default=1, help="Of an operation.")
@option("--ready-file", type=existing_path, required=True, help="Receives the address.")
def main(graph: Path, listen: str, threads: int, ready_file: Path) -> None:
    """Classify picture files by HTTP, for the testbed."""
    host, _, port = listen.rpartition(":")
    with socket.create_server((host, int(port))) as listening:
        app = application(PlainNetwork(graph, threads))
        server = _Announced(
            uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=LONGEST_S),
            {"listen": f"{host}:{listening.getsockname()[1]}"},
            ready_file,
        )
        server.run([listening])


class _Announced(uvicorn.Server):
    """Writes its address once it serves."""

    def __init__(self, config: uvicorn.Config, ready: dict[str, str], file: Path) -> None:
        super().__init__(config)
        self._ready, self._file = ready, file

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        write_json(self._file, self._ready)


if __name__ == "__main__":
    run(main)
