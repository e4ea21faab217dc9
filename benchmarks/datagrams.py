"""A prototype of another transport: the pair's messages as QUIC datagrams (aioquic), beside gRPC, in bytes on the link.

gRPC is the real pair. QUIC carries frames of the same sizes and answers as long, at the same timesteps, to a server
that takes as long as the cloud's tail did; what it computes makes no difference to bytes. Decision 27 rests on this.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import DatagramFrameReceived, QuicEvent

from benchmarks import echo
from benchmarks.dataset_samples import samples_of
from benchmarks.edge.base import QUIET_CLOUD, edge_config
from benchmarks.packets import counting
from benchmarks.processes import CloudProcess
from benchmarks.record import Findings, Goal
from edge_client.build import open_edge
from edge_client.inference.verdict import Verdict
from protos import co_inference_pb2 as pb
from shared.bundle import Bundle
from shared.messages import Frame, StepResult, Stop
from shared.wire import cloud_to_wire, edge_to_wire

SETTLE_S = 0.3
"""In which the last acknowledgements pass."""

WINDOWS = (1024, 65_535, 1 << 20, 1 << 24)
"""Bytes: values of gRPC's grpc.http2.lookahead_bytes, on both sides. 65,535 is HTTP/2's own."""

ROUND_TRIPS = 3000
"""Enough to use up a connection's first window of 65,535 bytes several times."""

LONGEST_DATAGRAM = 1200
LORAWAN_UPLINK = 222
"""Bytes, of EU868 DR5."""


class Sent(NamedTuple):
    """A sample as it was sent by gRPC: the sizes of its frames' spikes, and the seconds until each answer."""

    spikes: tuple[int, ...]
    answer_s: float


def measure(bundle: Path, dataset: str, data: Path | None, limit: int) -> Findings:
    """Count bytes on the link of each sample.

    Args:
        bundle: of the pair.
        dataset: whose first test samples are sent.
        data: its folder.
        limit: how many.
    """
    opened = Bundle.open(bundle)
    found, sent = asyncio.run(_grpc(opened, samples_of(opened, dataset, data, limit)))
    with tempfile.TemporaryDirectory(prefix="neucodex-certificate-") as folder:
        results = {"grpc": found, "quic datagrams": asyncio.run(_quic(sent, Path(folder)))}
    payload = sum(sum(each.spikes) for each in sent) / len(sent)
    first = max(len(_frame(1, 1, each.spikes[0])) for each in sent)
    steps = sum(len(each.spikes) for each in sent) / len(sent)
    results["sample"] = {
        "payload bytes": round(payload, 1),
        "timesteps": round(steps, 2),
        "longest first message": first,
    }
    results["window updates, bytes a round trip, by grpc.http2.lookahead_bytes"] = {
        str(window): asyncio.run(_window_updates(window)) for window in WINDOWS
    }
    goals = [
        Goal("bytes of overhead a sample over gRPC", 200, found["bytes"] - payload, "bytes", "lower"),
        Goal("bytes on the link a sample over QUIC", 215, results["quic datagrams"]["bytes"], "bytes", "lower"),
        Goal("bytes of a first frame's message: one LoRaWAN uplink", LORAWAN_UPLINK, first, "bytes", "lower"),
    ]
    return Findings(n={"samples": len(sent)}, results=results, targets=goals)


async def _grpc(bundle: Bundle, samples: Sequence[Any]) -> tuple[dict[str, float], list[Sent]]:
    with (
        tempfile.TemporaryDirectory(prefix="neucodex-datagrams-") as folder,
        CloudProcess([bundle.path], Path(folder), *QUIET_CLOUD) as cloud,
    ):
        address = cloud.wait_ready().listen
        async with open_edge(edge_config(bundle, address, lookahead=1), bundle) as network:
            await network.classify(samples[0])
            await asyncio.sleep(SETTLE_S)
            with counting(int(address.rpartition(":")[2])) as counter:
                verdicts = [await network.classify(sample) for sample in samples]
                await asyncio.sleep(SETTLE_S)
    return _per_sample(counter.counts, len(samples)), [_sent(verdict) for verdict in verdicts]


async def _window_updates(window: int) -> float:
    """Of a bare stream with messages as short as the pair's, both ways together."""

    async def answer(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield bytes(40)

    options = (("grpc.http2.lookahead_bytes", window),)
    server, address = await echo.serve(echo.ECHO, answer, "127.0.0.1:0", *options)
    async with contextlib.aclosing(echo.ByteStream(address, echo.ECHO, *options)) as stream:
        await stream.ask(bytes(112))
        with counting(int(address.rpartition(":")[2])) as counter:
            await stream.round_trips_s(bytes(112), ROUND_TRIPS)
            await asyncio.sleep(SETTLE_S)
    await server.stop(None)
    updates = sum(counter.counts[f"{way} WINDOW_UPDATE bytes"] for way in ("up", "down"))
    return round(updates / ROUND_TRIPS, 2)


def _sent(verdict: Verdict) -> Sent:
    each, more = divmod(verdict.payload_bytes, verdict.frames_sent)
    spikes = tuple(each + (number < more) for number in range(verdict.frames_sent))
    return Sent(spikes, sum(step.tail_s for step in verdict.steps) / len(verdict.steps))


async def _quic(sent: Sequence[Sent], folder: Path) -> dict[str, float]:
    certificate, key = _certificate(folder)
    here = QuicConfiguration(is_client=False, max_datagram_frame_size=LONGEST_DATAGRAM)
    here.load_cert_chain(certificate, key)
    there = QuicConfiguration(is_client=True, max_datagram_frame_size=LONGEST_DATAGRAM, server_name="localhost")
    there.load_verify_locations(str(certificate))
    # Nothing is routed by it, so the client's own connection id may be as short as it gets.
    there.connection_id_length = 1
    here.connection_id_length = 1
    answer_s = sum(each.answer_s for each in sent) / len(sent)
    server = await serve("127.0.0.1", 0, configuration=here, create_protocol=partial(_Cloud, answer_s=answer_s))
    assert server._transport is not None
    port = server._transport.get_extra_info("sockname")[1]
    async with connect("127.0.0.1", port, configuration=there, create_protocol=_Edge) as edge:
        assert isinstance(edge, _Edge)
        await edge.classify(1, sent[0])
        await asyncio.sleep(SETTLE_S)
        with counting(port) as counter:
            for number, each in enumerate(sent, 2):
                await edge.classify(number, each)
            await asyncio.sleep(SETTLE_S)
    server.close()
    return _per_sample(counter.counts, len(sent))


class _Edge(QuicConnectionProtocol):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._answer: asyncio.Future[bytes] | None = None

    async def classify(self, number: int, sent: Sent) -> None:
        """All of a sample's frames, each after the answer to the one before."""
        for timestep, size in enumerate(sent.spikes, 1):
            self._answer = asyncio.get_running_loop().create_future()
            self._quic.send_datagram_frame(_frame(number, timestep, size))
            self.transmit()
            await self._answer

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, DatagramFrameReceived) and self._answer is not None:
            self._answer.set_result(event.data)


class _Cloud(QuicConnectionProtocol):
    def __init__(self, *args: Any, answer_s: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._answer_s = answer_s

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, DatagramFrameReceived):
            frame = pb.EdgeMessage.FromString(event.data).frame
            asyncio.get_running_loop().call_later(self._answer_s, self._send, frame.sample, frame.timestep)

    def _send(self, sample: int, timestep: int) -> None:
        result = StepResult(sample, timestep, (0.9,), (3,), queue_us=200, compute_us=10_000, batch_size=1)
        self._quic.send_datagram_frame(cloud_to_wire(result).SerializeToString())
        self.transmit()


def _frame(sample: int, timestep: int, size: int) -> bytes:
    stops = [Stop(sample - 1)] if timestep == 1 else []
    return edge_to_wire(Frame(sample, timestep, 0, bytes(size)), stops).SerializeToString()


def _per_sample(counts: dict[str, int], samples: int) -> dict[str, float]:
    found = {name: round(count / samples, 2) for name, count in sorted(counts.items())}
    return {"bytes": round((counts["up bytes"] + counts["down bytes"]) / samples, 1), **found}


def _certificate(folder: Path) -> tuple[Path, Path]:
    import trustme  # noqa: PLC0415  of the tests: for this alone

    authority = trustme.CA()
    made = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.cert_chain_pems[0].bytes() + authority.cert_pem.bytes())
    key.write_bytes(made.private_key_pem.bytes())
    return certificate, key
