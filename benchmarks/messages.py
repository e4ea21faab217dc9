"""What gRPC and HTTP/2 add to a message: bytes counted by a proxy between a real edge transport and a real cloud.

The proxy sees what TCP carries, not TCP's and IP's own headers (52 bytes a packet: IPv4, with TCP's timestamps).
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.links.proxy import LinkBytes, Proxy
from benchmarks.processes import CloudProcess
from benchmarks.record import Findings, Goal
from edge_client.link.addresses import Target
from edge_client.link.grpc_transport import GrpcTransport
from edge_client.link.security import IN_CLEAR
from shared.bundle import Bundle
from shared.messages import Codec, Frame, Stop
from shared.wire import FRAMING_BYTES, cloud_to_wire, edge_to_wire

WITHIN_S = 10.0


def measure(bundle: Path, quick: bool) -> Findings:
    """Count bytes of samples in lockstep and fully ahead, with frames of packed bits.

    Args:
        bundle: served by a cloud process on this machine.
        quick: fewer samples.
    """
    samples = 50 if quick else 500
    with (
        tempfile.TemporaryDirectory(prefix="neucodex-messages-") as folder,
        CloudProcess([bundle], Path(folder), "--threads", 1, "--log-level", "warning") as cloud,
    ):
        results = asyncio.run(_measure(Bundle.open(bundle), cloud.wait_ready().listen, samples))
    lockstep = results["lockstep"]
    return Findings(
        n={"samples of each way": samples},
        results=results,
        targets=[
            Goal(
                "bytes up for each message, beyond the message and its framing of 14 bytes",
                26.0,
                lockstep["up: for each message beyond it and its framing"],
                "bytes",
                "lower",
                "the goal is the two window updates that the performance guide measured",
            )
        ],
    )


async def _measure(bundle: Bundle, cloud: str, samples: int) -> dict[str, Any]:
    timesteps = bundle.manifest.network.timesteps
    spikes = bytes(-(-_positions(bundle) // 8))
    host, _, port = cloud.rpartition(":")
    proxy = Proxy(host, int(port))
    address, counted = await proxy.start(), proxy.counted
    try:
        link = GrpcTransport.of(bundle, bundle.settings.exit_policy, Target(address, address), IN_CLEAR, WITHIN_S)
        try:
            await link.open()
            await asyncio.sleep(0.2)
            opening = LinkBytes(counted.up, counted.down)
            lockstep = await _samples(link, counted, spikes, timesteps, samples, ahead=1)
            ahead = await _samples(link, counted, spikes, timesteps, samples, ahead=timesteps)
        finally:
            await link.close()
    finally:
        await proxy.close()
    return {
        "opening connection and stream, bytes": {"up": opening.up, "down": opening.down},
        "lockstep": lockstep,
        f"lookahead {timesteps}": ahead,
    }


async def _samples(
    link: GrpcTransport, counted: LinkBytes, spikes: bytes, timesteps: int, samples: int, *, ahead: int
) -> dict[str, float]:
    """Samples at full T, `ahead` frames sent before the first answer is waited for."""
    begun = LinkBytes(counted.up, counted.down)
    up: list[int] = []
    down: list[int] = []
    stops: list[Stop] = []
    for _ in range(samples):
        sample = link.open_sample()
        sent = 0
        for answered in range(timesteps):
            while sent < min(timesteps, answered + ahead):
                sent += 1
                frame = Frame(sample.number, sent, Codec.PACKED_BITS, spikes)
                up.append(edge_to_wire(frame, stops).ByteSize())
                sample.send(frame)
                stops = []
            down.append(cloud_to_wire(await sample.receive(WITHIN_S)).ByteSize())
        sample.stop()
        stops = [Stop(sample.number)]  # it travels with the next sample's first frame
    up.append(edge_to_wire(stops[0]).ByteSize())  # alone: nothing follows
    await asyncio.sleep(0.3)  # the last Stop, and the acknowledgements of the last answers
    wire_up, wire_down = counted.up - begun.up, counted.down - begun.down
    frames = samples * timesteps
    return {
        "payload of a frame": len(spikes),
        "up: message, mean": round(sum(up) / len(up), 2),
        "up: for each message beyond it and its framing": round((wire_up - sum(up)) / len(up) - FRAMING_BYTES, 2),
        "up: wire bytes for each frame, with its share of the Stop": round(wire_up / frames, 2),
        "down: message, mean": round(sum(down) / len(down), 2),
        "down: for each message beyond it and its framing": round(
            (wire_down - sum(down)) / len(down) - FRAMING_BYTES, 2
        ),
        "down: wire bytes for each frame": round(wire_down / frames, 2),
    }


def _positions(bundle: Bundle) -> int:
    channels, height, width = bundle.manifest.frame_shape
    return channels * height * width
