"""What gRPC and HTTP/2 add to a message: bytes counted by a proxy between a real edge and a real cloud.

The proxy sees what TCP carries, not TCP's and IP's own headers (52 bytes a packet: IPv4, with TCP's timestamps).
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.dataset_samples import samples_of
from benchmarks.edge.base import QUIET_CLOUD, edge_config, message_sizes
from benchmarks.links.proxy import DelayProxy
from benchmarks.processes import CloudProcess
from benchmarks.record import Findings, Goal
from edge_client.build import open_edge
from edge_client.inference.sample import Sample
from shared.bundle import Bundle
from shared.wire import FRAMING_BYTES

SETTLE_S = 0.3
"""In which the last Stop leaves, and the last answers are acknowledged."""

BEYOND = "up: for each message beyond it and its framing"


def measure(bundle: Path, quick: bool) -> Findings:
    """Count bytes of digits at full T, in lockstep and fully ahead.

    Args:
        bundle: of digits, served by a cloud process on this machine.
        quick: fewer samples.
    """
    opened = Bundle.open(bundle)
    samples = samples_of(opened, "digits", None, 50 if quick else 360)
    with (
        tempfile.TemporaryDirectory(prefix="neucodex-messages-") as folder,
        CloudProcess([bundle], Path(folder), *QUIET_CLOUD).wait_ready() as cloud,
    ):
        timesteps = opened.manifest.network.timesteps
        results = {
            name: asyncio.run(_count(opened, cloud.listen, samples, lookahead))
            for name, lookahead in (("lockstep", 1), (f"lookahead {timesteps}", timesteps))
        }
    note = "the goal is the two window updates that the performance guide measured"
    name = f"bytes up for each message, beyond the message and its framing of {FRAMING_BYTES} bytes"
    goal = Goal(name, 26.0, results["lockstep"][BEYOND], "bytes", "lower", note)
    return Findings(n={"samples of each way": len(samples)}, results=results, targets=[goal])


async def _count(bundle: Bundle, cloud: str, samples: list[Sample], lookahead: int) -> dict[str, Any]:
    proxy = DelayProxy(cloud)
    config = edge_config(bundle, await proxy.start(), full_t=True, lookahead=lookahead)
    async with open_edge(config, bundle) as network:
        await asyncio.sleep(SETTLE_S)
        opening = proxy.counted.copy()
        verdicts = [await network.classify(sample) for sample in samples]
        await asyncio.sleep(SETTLE_S)
        up, down = (proxy.counted[way] - opening[way] for way in ("up", "down"))
    await proxy.close()
    message_bytes, wire_bytes = (sum(getattr(v, name) for v in verdicts) for name in ("message_bytes", "wire_bytes"))
    messages = (wire_bytes - message_bytes) // FRAMING_BYTES
    frames = sum(verdict.timesteps for verdict in verdicts)
    _, answer = message_sizes(bundle)
    return {
        "opening connection and stream, bytes": dict(opening),
        "up: message, mean": round(message_bytes / messages, 2),
        BEYOND: round((up - wire_bytes) / messages, 1),
        "up: wire bytes for each frame, with its share of the Stop": round(up / frames, 2),
        "down: for each message beyond it and its framing, about": round(down / frames - answer - FRAMING_BYTES, 2),
        "down: wire bytes for each frame": round(down / frames, 2),
    }
