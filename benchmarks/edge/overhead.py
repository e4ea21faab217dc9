"""What a timestep costs beyond its head, its tail and a bare gRPC round trip of the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.echo import EchoServer, EchoStream
from benchmarks.edge.base import QUIET_CLOUD, Measurement, Setup, edge_config
from benchmarks.processes import CloudProcess
from benchmarks.record import Goal
from benchmarks.worker import WorkerProcess
from edge_client.build import open_edge
from edge_client.config import InputConfig
from edge_client.heads.factory import open_head
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.inputs.factory import open_source
from shared.bundle import Bundle
from shared.messages import Frame, StepResult
from shared.wire import cloud_to_wire, edge_to_wire

GOAL_US = 300.0
QUIET, MEDIAN = 10, 50
"""Percentiles: on a machine that others use too, the quiet tenth says what the software takes."""

ROUND_TRIPS = 20
"""Bare ones between two samples, so that both see the same machine."""


def measure(setup: Setup) -> Measurement:
    """Samples in lockstep to the last timestep, and bare round trips in between.

    Wall time of a timestep is a sample's latency, shared among its timesteps. The head (with what is computed once for
    a picture) is by this process's clock. The cloud reports the time of a batch; how much of it was the tail is the
    ratio of the sums on its metrics page.
    """
    bundle = Bundle.open(setup.bundle)
    count = 20 if setup.quick else 360
    source = open_source(InputConfig(dataset=setup.dataset, data=setup.data, limit=count), bundle.manifest)
    samples = [item for item in source if isinstance(item, Sample)]
    with CloudProcess([bundle.path], setup.folder / "overhead", *QUIET_CLOUD) as cloud:
        cloud.wait_ready()
        up, down = message_sizes(bundle)
        with WorkerProcess(partial(EchoServer, bytes(down))) as echo:
            address = echo.call(EchoServer.address)
            verdicts, bare_s = asyncio.run(_measure(bundle, samples, cloud.listen, address, up))
        stages = {stage: seconds for stage, (seconds, _) in cloud.stages().items()}
    of_batch = stages["tail"] / sum(stages[stage] for stage in ("decode", "gather", "tail", "scatter"))
    return _measurement(verdicts, bare_s, of_batch, {"up": up, "down": down})


def message_sizes(bundle: Bundle) -> tuple[int, int]:
    """Bytes of a frame's message and of its answer. The frame is one of packed bits: no frame is longer."""
    spikes = bytes(-(-int(np.prod(bundle.manifest.frame_shape)) // 8))
    confidences = (1.0 / bundle.manifest.network.classes,) * bundle.manifest.network.classes
    frame = edge_to_wire(Frame(100, 1, 0, spikes))
    return frame.ByteSize(), cloud_to_wire(StepResult(100, 1, confidences, (), 100, 1000, 1)).ByteSize()


async def _measure(
    bundle: Bundle, samples: Sequence[Sample], cloud: str, echo: str, up: int
) -> tuple[list[Verdict], list[float]]:
    head = open_head(bundle)
    stream = EchoStream(echo)
    message = bytes(up)
    verdicts, bare_s = [], []
    try:
        async with open_edge(edge_config(bundle, cloud, full_t=True), bundle, head=head) as network:
            for sample in samples[: len(samples) // 10 + 1]:  # warms up both ways
                await network.classify(sample)
                await stream.round_trips_s(message, ROUND_TRIPS)
            for sample in samples:
                verdicts.append(await network.classify(sample))
                bare_s += await stream.round_trips_s(message, ROUND_TRIPS)
    finally:
        await stream.close()
    return verdicts, bare_s


def _measurement(
    verdicts: Sequence[Verdict], bare_s: Sequence[float], of_batch: float, sizes: dict[str, int]
) -> Measurement:
    steps = [verdict.steps for verdict in verdicts]
    by_timestep = {
        name: np.array([np.mean([getattr(step, f"{name}_s") for step in each]) for each in steps])
        for name in ("head", "encode", "queue", "tail")
    }
    wall = np.array([verdict.latency_s / len(verdict.steps) for verdict in verdicts])
    tail = by_timestep["tail"] * of_batch
    beyond = wall - by_timestep["head"] - tail
    rows = {"wall": wall, "head": by_timestep["head"], "tail": tail, "bare gRPC round trip": np.array(bare_s)}
    within = {
        "encoding": by_timestep["encode"],
        "queue in the cloud": by_timestep["queue"],
        "decoding, gather, scatter": by_timestep["tail"] * (1 - of_batch),
    }
    overhead_us = {p: _us(beyond, p) - _us(rows["bare gRPC round trip"], p) for p in (QUIET, MEDIAN)}
    return Measurement(
        n={"samples": len(verdicts), "timesteps of each": len(steps[0]), "bare round trips": len(bare_s)},
        results={
            "message bytes": sizes,
            "us per timestep, p10 / p50": {
                name: [_us(seconds, p) for p in (QUIET, MEDIAN)] for name, seconds in {**rows, **within}.items()
            },
            "us per timestep beyond head, tail and bare round trip, p10 / p50": [
                round(overhead_us[p], 1) for p in (QUIET, MEDIAN)
            ],
        },
        targets=[
            Goal(
                "a timestep beyond head, tail and a bare gRPC round trip",
                GOAL_US,
                round(overhead_us[MEDIAN], 1),
                "us",
                "lower",
                f"medians; in the quiet tenth {overhead_us[QUIET]:.1f}; encoding, decoding and queueing are within it",
            )
        ],
    )


def _us(seconds: NDArray[np.float64], percent: float) -> float:
    return round(float(np.percentile(seconds, percent)) * 1e6, 1)
