"""Sending ahead on a slow link: every fixed number of frames, and `auto`, on the same samples, in turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from benchmarks.dataset_samples import samples_of
from benchmarks.edge.base import QUIET_CLOUD, Setup, edge_config
from benchmarks.links.proxy import LinkProcess
from benchmarks.processes import CloudProcess
from benchmarks.record import Findings, Goal
from edge_client.build import open_edge
from edge_client.heads.factory import open_head
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from shared.bundle import Bundle

ONE_WAY_S = 0.020
AUTO = "auto"
WARM_UP = 8
BLOCK = 12
SETTLE_S = 0.2
AS_FAST = 1.05
"""Medians that differ by less than this are alike."""

FAST = "auto's median latency over the better of lockstep's and full streaming's"
AHEAD = "lockstep's median latency over auto's, samples of more than one timestep"
CHEAP = "auto's wire bytes over those of the cheapest policy that is as fast"

Figures = dict[str, Any]


def measure(setup: Setup) -> Findings:
    """Latency and bytes of each policy over a round trip of 40 ms."""
    bundle = Bundle.open(setup.bundle)
    samples = samples_of(bundle, setup.dataset, setup.data, 12 if setup.quick else 360)
    with (
        CloudProcess([bundle.path], setup.folder / "ahead", *QUIET_CLOUD).wait_ready() as cloud,
        LinkProcess(cloud.listen, ONE_WAY_S) as link,
    ):
        verdicts = asyncio.run(_classify(bundle, samples, link.address))
    longer = [number for number, verdict in enumerate(verdicts["1"]) if verdict.timesteps > 1]
    figures = {name: _figures(found, longer) for name, found in verdicts.items()}
    return Findings(
        n={"samples": len(samples), "of these with more than one timestep": len(longer)},
        results={
            "one way, ms": ONE_WAY_S * 1000,
            "by lookahead": figures,
            "answers that differ from lockstep's": sum(
                (one.prediction, one.timesteps) != (other.prediction, other.timesteps)
                for found in verdicts.values()
                for one, other in zip(found, verdicts["1"], strict=True)
            ),
        },
        targets=_goals(figures, str(bundle.manifest.network.timesteps)),
    )


async def _classify(bundle: Bundle, samples: Sequence[Sample], address: str) -> dict[str, list[Verdict]]:
    policies: list[int | Literal["auto"]] = [*range(1, bundle.manifest.network.timesteps + 1), "auto"]
    head = open_head(bundle)
    async with contextlib.AsyncExitStack() as stack:
        networks = {
            str(lookahead): await stack.enter_async_context(
                open_edge(edge_config(bundle, address, lookahead=lookahead), bundle, head=head)
            )
            for lookahead in policies
        }
        for network in networks.values():  # everything warms up, and auto learns what the link is like
            for sample in samples[:WARM_UP]:
                await network.classify(sample)
        names = list(networks)
        verdicts: dict[str, list[Verdict]] = {name: [] for name in names}
        for turn, start in enumerate(range(0, len(samples), BLOCK)):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                # What the policy before left to be done is not this one's.
                await asyncio.sleep(SETTLE_S)
                for sample in samples[start : start + BLOCK]:
                    verdicts[name].append(await networks[name].classify(sample))
    return verdicts


def _figures(verdicts: Sequence[Verdict], longer: Sequence[int]) -> Figures:
    milliseconds = [verdict.latency_s * 1000 for verdict in verdicts]
    of_longer = [milliseconds[number] for number in longer]
    return {
        "latency ms p10 / p50 / p90": [round(float(np.percentile(milliseconds, p)), 2) for p in (10, 50, 90)],
        "latency ms p50, more than one timestep": round(float(np.median(of_longer)), 2) if longer else None,
        "latency ms, mean": round(float(np.mean(milliseconds)), 2),
        "payload bytes per sample": round(float(np.mean([verdict.payload_bytes for verdict in verdicts])), 2),
        "wire bytes per sample": round(float(np.mean([verdict.wire_bytes for verdict in verdicts])), 2),
    }


def _goals(figures: Mapping[str, Figures], last: str) -> list[Goal]:
    """`last`: the policy that sends all frames at once."""
    p50 = {name: found["latency ms p10 / p50 / p90"][1] for name, found in figures.items()}
    longer = {name: found["latency ms p50, more than one timestep"] for name, found in figures.items()}
    as_fast = [
        name
        for name in figures
        if name != AUTO and p50[name] <= p50[AUTO] * AS_FAST and (longer[name] or 0) <= (longer[AUTO] or 0) * AS_FAST
    ]
    wire = {name: found["wire bytes per sample"] for name, found in figures.items()}
    cheapest = min(as_fast, key=wire.__getitem__, default=AUTO)
    over_best = round(p50[AUTO] / min(p50["1"], p50[last]), 3)
    gain, none = None, "no sample needed more than one timestep"
    if longer[AUTO] is not None:
        gain, none = round(longer["1"] / longer[AUTO], 3), ""
    note = f"that is {cheapest}; as fast: both medians within {AS_FAST - 1:.0%} of auto's"
    return [
        Goal(FAST, 1.15, over_best, "ratio", "lower"),
        Goal(AHEAD, 1.5, gain, "ratio", "higher", none),
        Goal(CHEAP, 1.10, round(wire[AUTO] / wire[cheapest], 3), "ratio", "lower", note),
    ]
