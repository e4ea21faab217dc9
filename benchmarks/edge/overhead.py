"""What a timestep costs beyond its head, its tail and a bare gRPC round trip of the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.dataset_samples import samples_of
from benchmarks.echo import ECHO, ByteStream, EchoServer
from benchmarks.edge.base import QUIET_CLOUD, Setup, edge_config, message_sizes
from benchmarks.processes import CloudProcess
from benchmarks.record import Findings, Goal
from benchmarks.worker import WorkerProcess
from edge_client.build import open_edge
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from shared.bundle import Bundle

GOAL_US = 300.0
QUIET, MEDIAN = 10, 50
"""Percentiles: on a machine that others use too, the quiet tenth says what the software takes."""

ROUND_TRIPS = 20
"""Bare ones between two samples, so that both see the same machine."""


def measure(setup: Setup) -> Findings:
    """Samples in lockstep to the last timestep, and bare round trips in between.

    Wall time of a timestep is a sample's latency, shared among its timesteps. The head (with what is computed once for
    a picture) is by this process's clock. The cloud reports the time of a batch; how much of it was the tail is the
    ratio of the sums on its metrics page.
    """
    bundle = Bundle.open(setup.bundle)
    samples = samples_of(bundle, setup.dataset, setup.data, 20 if setup.quick else 360)
    with CloudProcess([bundle.path], setup.folder / "overhead", *QUIET_CLOUD).wait_ready() as cloud:
        up, down = message_sizes(bundle)
        with WorkerProcess(partial(EchoServer, bytes(down))) as echo:
            address = echo.call(EchoServer.start)
            verdicts, bare_s = asyncio.run(_measure(bundle, samples, cloud.listen, address, up))
        stages = {stage: seconds for stage, (seconds, _) in cloud.stages().items()}
    of_batch = stages["tail"] / sum(stages[stage] for stage in ("decode", "gather", "tail", "scatter"))
    return _measurement(verdicts, bare_s, of_batch, {"up": up, "down": down})


async def _measure(
    bundle: Bundle, samples: Sequence[Sample], cloud: str, echo: str, up: int
) -> tuple[list[Verdict], list[float]]:
    stream, message = ByteStream(echo, ECHO), bytes(up)
    verdicts, bare_s = [], []
    async with open_edge(edge_config(bundle, cloud, full_t=True), bundle) as network:
        for sample in samples[: len(samples) // 10 + 1]:  # warms up both ways
            await network.classify(sample)
            await stream.round_trips_s(message, ROUND_TRIPS)
        for sample in samples:
            verdicts.append(await network.classify(sample))
            bare_s += await stream.round_trips_s(message, ROUND_TRIPS)
    await stream.aclose()
    return verdicts, bare_s


def _measurement(
    verdicts: Sequence[Verdict], bare_s: Sequence[float], of_batch: float, sizes: dict[str, int]
) -> Findings:
    steps = [verdict.steps for verdict in verdicts]
    mean = {
        name: np.array([np.mean([getattr(step, f"{name}_s") for step in each]) for each in steps])
        for name in ("head", "encode", "queue", "tail")
    }
    rows = {
        "wall": np.array([verdict.latency_s / len(verdict.steps) for verdict in verdicts]),
        "head": mean["head"],
        "tail": mean["tail"] * of_batch,
        "bare gRPC round trip": np.array(bare_s),
        "encoding": mean["encode"],
        "queue in the cloud": mean["queue"],
        "decoding, gather, scatter": mean["tail"] * (1 - of_batch),
    }
    beyond = rows["wall"] - rows["head"] - rows["tail"]
    quiet, median = (round(_us(beyond, p) - _us(rows["bare gRPC round trip"], p), 1) for p in (QUIET, MEDIAN))
    name = "a timestep beyond head, tail and a bare gRPC round trip"
    note = f"medians; in the quiet tenth {quiet}; encoding, decoding and queueing are within it"
    return Findings(
        n={"samples": len(verdicts), "timesteps of each": len(steps[0]), "bare round trips": len(bare_s)},
        results={
            "message bytes": sizes,
            "us per timestep, p10 / p50": {
                name: [_us(seconds, p) for p in (QUIET, MEDIAN)] for name, seconds in rows.items()
            },
            "us per timestep beyond head, tail and bare round trip, p10 / p50": [quiet, median],
        },
        targets=[Goal(name, GOAL_US, median, "us", "lower", note)],
    )


def _us(seconds: NDArray[np.float64], percent: float) -> float:
    return round(float(np.percentile(seconds, percent)) * 1e6, 1)
