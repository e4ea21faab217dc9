"""How soon an edge notices that its link has died without a word: real TCP between two namespaces, the cable pulled.

Run as a program it is one of the two ends: `serve` agrees to every Open and then says nothing, `ask` is the edge's
transport.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any

import grpc
import grpc.aio

from benchmarks.edge.base import Measurement, Setup
from benchmarks.links.namespaces import Cable, cable, missing
from benchmarks.record import Goal
from edge_client.link.addresses import Target as Machine
from edge_client.link.grpc_call import DEAD_LINK_S, GrpcCall
from edge_client.link.grpc_transport import PROBE_S, GrpcTransport
from edge_client.link.security import IN_CLEAR
from protos import co_inference_pb2 as pb
from protos import co_inference_pb2_grpc as pb_grpc
from shared.errors import NeucodexError
from shared.messages import Codec, Frame, Open

PORT = 50051
SLACK_S = 2.0
"""TCP looks at its timers when it would send again, not on the second."""

GOALS_S = {
    "frames sent into a dead link": DEAD_LINK_S + SLACK_S,
    "the link dies while an answer is due": DEAD_LINK_S + PROBE_S + SLACK_S,
}


def measure(setup: Setup) -> Measurement:
    """Pull the cable before a frame is sent, and after one was acknowledged."""
    lacking = missing()
    if lacking is not None:
        targets = [Goal(name, goal, None, "s", "lower", lacking) for name, goal in GOALS_S.items()]
        return Measurement(n={"cables pulled": 0}, results={"not measured": lacking}, targets=targets)
    before, after = GOALS_S
    seconds = {before: _noticed_s(pulled_first=True)}
    if not setup.quick:
        seconds[after] = _noticed_s(pulled_first=False)
    skipped = "left out by --quick"
    return Measurement(
        n={"cables pulled": len(seconds)},
        results={"seconds until it was noticed": {name: round(value, 2) for name, value in seconds.items()}},
        targets=[
            Goal(name, goal, seconds.get(name), "s", "lower", "" if name in seconds else skipped)
            for name, goal in GOALS_S.items()
        ],
    )


def _noticed_s(*, pulled_first: bool) -> float:
    with cable() as between, _end(between, between.far, "serve") as far:
        _expect(far, "ready")
        with _end(between, between.near, "ask") as near:
            _expect(near, "open")
            if pulled_first:
                between.pull()
                pulled = time.monotonic()
                _tell(near, "send")
            else:
                _tell(near, "send")
                _expect(far, "frame")  # and the kernel over there acknowledges it, at the latest after 40 ms
                time.sleep(0.5)
                between.pull()
                pulled = time.monotonic()
            _expect(near, "lost")
            return time.monotonic() - pulled


@contextlib.contextmanager
def _end(between: Cable, namespace: str, role: str) -> Iterator[subprocess.Popen[str]]:
    command = [*between.inside(namespace), sys.executable, "-m", "benchmarks.edge.dead_link", role, between.far_address]
    process = subprocess.Popen(  # noqa: S603  our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _expect(process: subprocess.Popen[str], word: str) -> None:
    line = _pipe(process.stdout).readline().strip()
    if line != word:
        raise NeucodexError(f"one end of the cable said {line!r} where {word!r} was due")


def _tell(process: subprocess.Popen[str], word: str) -> None:
    _pipe(process.stdin).write(f"{word}\n")
    _pipe(process.stdin).flush()


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def _serve(address: str) -> None:
    class Silent(pb_grpc.CoInferenceServicer):
        async def Infer(  # type: ignore[override]  # noqa: N802  gRPC's
            self,
            request_iterator: Any,  # noqa: ARG002
            context: Any,
        ) -> None:
            await context.read()
            await context.write(pb.CloudMessage(ready=pb.Ready(max_open_samples=1, sample_idle_timeout_ms=60_000)))
            while (message := await context.read()) is not grpc.aio.EOF:
                _say(str(message.WhichOneof("kind")))

    server = grpc.aio.server()  # gRPC's defaults
    pb_grpc.add_CoInferenceServicer_to_server(Silent(), server)
    server.add_insecure_port(address)
    await server.start()
    _say("ready")
    await server.wait_for_termination()


async def _ask(address: str) -> None:
    transport = GrpcTransport(GrpcCall(Machine(address, address), IN_CLEAR, Open(bytes(32)), 2, DEAD_LINK_S))
    lost = asyncio.get_running_loop().create_future()
    await transport.open(lost.set_result)
    _say("open")
    await asyncio.to_thread(sys.stdin.readline)
    sample = transport.open_sample()
    sample.send(Frame(sample.number, 1, Codec.PACKED_BITS, b"\x01"))
    await lost
    _say("lost")


def main(arguments: Sequence[str]) -> None:
    """One end of the cable."""
    role, host = arguments
    asyncio.run({"serve": _serve, "ask": _ask}[role](f"{host}:{PORT}"))


if __name__ == "__main__":
    main(sys.argv[1:])
