"""The cloud of the alternatives that `neucodex-cloud` does not serve: whole pictures, and features as float32.

One gRPC stream carries them, as the pair's does, with messages that are as short: a struct and the bytes. Run as
`python -m benchmarks.testbed.picture_server`; only ever on the testbed's own network.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks import echo
from benchmarks.json_file import write_json
from benchmarks.testbed.picture_files import CODECS, decode
from benchmarks.testbed.plain_network import PlainNetwork
from benchmarks.testbed.whole_network import Confidences, TailRun, WholeNetwork
from shared.bundle import Bundle
from shared.command_line import existing_path, option, run

METHOD = "/neucodex.testbed/Classify"
REQUEST = struct.Struct("<BBH")
"""What follows (an index into CODECS, or FEATURES); whether to exit early, or the timestep of features; to spare."""

FEATURES = 255
ANSWER = struct.Struct("<IIB")
"""Microseconds queued and computed, timesteps; float32 confidences [timesteps, classes] follow."""

LARGE_MESSAGES = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
REPEATS = 5


def request_picture(codec: str, data: bytes, *, early_exit: bool) -> bytes:
    """A picture's file as a message."""
    return REQUEST.pack(CODECS.index(codec), early_exit, 0) + data


def request_features(timestep: int, features: NDArray[np.float32]) -> bytes:
    """The features [C, H, W] of one timestep, 1..T, as a message; 1 begins a sample."""
    return REQUEST.pack(FEATURES, timestep, 0) + features.tobytes()


def read_answer(answer: bytes) -> tuple[float, float, Confidences]:
    """Milliseconds queued and computed, and the confidences."""
    queued, computed, timesteps = ANSWER.unpack_from(answer)
    confidences = np.frombuffer(answer, np.float32, offset=ANSWER.size).reshape(timesteps, -1)
    return queued / 1000, computed / 1000, confidences


class PictureServer:
    """Answers one stream after the other's messages in order, on one thread: the testbed has one edge.

    Args:
        bundle: the uncompressed network, which steps features, and pictures where there is no `plain` one.
        threads: of a step.
        plain: reads pictures in one pass, as the `rate` execution would.
    """

    def __init__(self, bundle: Bundle, threads: int, plain: PlainNetwork | None = None) -> None:
        self._plain = plain
        self._manifest = bundle.manifest
        self._pool = ThreadPoolExecutor(1)
        # torch on this side, whatever the edge's head runs on: it is what the cloud's tail is.
        self._network = self._pool.submit(WholeNetwork, bundle, threads, "torch").result()

    def step_ms(self) -> float:
        """The median milliseconds of a timestep of the whole network."""
        return self._pool.submit(self._step_ms).result()

    async def classify(self, requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        """The stream."""
        loop, features = asyncio.get_running_loop(), list[TailRun]()
        async for request in requests:
            yield await loop.run_in_executor(self._pool, self._answer, request, time.perf_counter(), features)

    def _step_ms(self) -> float:
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            self._network.classify(np.ones(self._manifest.network.sample_shape, np.uint8), early_exit=False)
            times.append(time.perf_counter() - began)
        return 1000 * float(np.median(times)) / self._manifest.network.timesteps

    def _answer(self, request: bytes, came: float, features: list[TailRun]) -> bytes:
        began = time.perf_counter()
        kind, how, _ = REQUEST.unpack_from(request)
        data = request[REQUEST.size :]
        if kind == FEATURES:
            if how == 1:
                features[:] = [TailRun(self._network.tail)]
            # Spikes, which came as floats; onnxruntime's tail takes nothing else.
            values = np.frombuffer(data, np.float32).reshape(self._manifest.split_shape).astype(np.uint8)
            found = features[0].step(values)[np.newaxis]
        else:
            pixels = decode(data, CODECS[kind], self._manifest.network.input_shape)
            if self._plain is not None:
                found = self._plain.classify(pixels)[np.newaxis]
            else:
                found = self._network.classify(pixels, early_exit=bool(how))
        spent = time.perf_counter() - began
        return ANSWER.pack(round((began - came) * 1e6), round(spent * 1e6), len(found)) + found.tobytes()


async def serve(bundle: Bundle, threads: int, listen: str, ready_file: Path, plain: PlainNetwork | None) -> None:
    """Serve until cancelled; the address, and the milliseconds of a timestep, go to `ready_file` as JSON."""
    pictures = PictureServer(bundle, threads, plain)
    server, address = await echo.serve(METHOD, pictures.classify, listen, *LARGE_MESSAGES)
    write_json(ready_file, {"listen": address, "step_ms": pictures.step_ms()})
    await server.wait_for_termination()


@click.command()
@option("--bundle", type=existing_path, required=True, help="The uncompressed network.")
@option("--listen", default="127.0.0.1:0", help="Where; port 0 takes a free one.")
@option("--threads", type=int, default=1, help="Of a step.")
@option("--ready-file", type=existing_path, required=True, help="Receives the address.")
@option("--plain", type=existing_path, help="A graph of the plain network, which then reads the pictures.")
def main(bundle: Path, listen: str, threads: int, ready_file: Path, plain: Path | None) -> None:
    """Classify whole pictures, and float32 features, for the testbed."""
    one_pass = None if plain is None else PlainNetwork(plain, threads)
    asyncio.run(serve(Bundle.open(bundle), threads, listen, ready_file, one_pass))


if __name__ == "__main__":
    run(main)
