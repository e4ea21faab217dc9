"""Sending ahead on a slow link: every fixed number of frames, and `auto`, on the same samples, in turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.edge.base import QUIET_CLOUD, Measurement, Setup, edge_config
from benchmarks.links.process import LinkProcess
from benchmarks.processes import CloudProcess
from benchmarks.record import Goal
from edge_client.build import open_edge
from edge_client.config import InputConfig
from edge_client.heads.factory import open_head
from edge_client.inference.lookahead import BYTE_PRICE_US, AutoLookahead, FixedLookahead, Lookahead, exits_tested
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.inputs.factory import open_source
from shared.bundle import Bundle

ONE_WAY_S = 0.020
AUTO = "auto"
WARM_UP = 8
BLOCK = 12
SETTLE_S = 0.2
AS_FAST = 1.05
"""Medians that differ by less than this are alike."""

Figures = dict[str, Any]


def measure(setup: Setup) -> Measurement:
    """Latency and bytes of each policy over a round trip of 40 ms."""
    bundle = Bundle.open(setup.bundle)
    count = 12 if setup.quick else 360
    source = open_source(InputConfig(dataset=setup.dataset, data=setup.data, limit=count), bundle.manifest)
    samples = [item for item in source if isinstance(item, Sample)]
    with (
        CloudProcess([bundle.path], setup.folder / "ahead", *QUIET_CLOUD) as cloud,
        contextlib.ExitStack() as stack,
    ):
        cloud.wait_ready()
        link = stack.enter_context(LinkProcess(cloud.listen, ONE_WAY_S))
        policies = _policies(bundle)
        verdicts = asyncio.run(_classify(bundle, samples, link.address, policies))
    auto = policies[AUTO]
    assert isinstance(auto, AutoLookahead)
    longer = [number for number, verdict in enumerate(verdicts["1"]) if verdict.timesteps > 1]
    figures = {name: _figures(found, longer) for name, found in verdicts.items()}
    return Measurement(
        n={"samples": len(samples), "of these with more than one timestep": len(longer)},
        results={
            "one way, ms": ONE_WAY_S * 1000,
            "by lookahead": figures,
            "auto's last plan": str(auto.plan),
            "auto's estimates": str(auto.costs),
            "answers that differ from lockstep's": sum(
                _answer(one) != _answer(other)
                for found in verdicts.values()
                for one, other in zip(found, verdicts["1"], strict=True)
            ),
        },
        targets=_targets(figures, str(bundle.manifest.network.timesteps)),
    )


def _policies(bundle: Bundle) -> dict[str, Lookahead]:
    timesteps = bundle.manifest.network.timesteps
    fixed: dict[str, Lookahead] = {str(frames): FixedLookahead(frames) for frames in range(1, timesteps + 1)}
    prior = exits_tested(bundle.settings.measured, timesteps)
    return {**fixed, AUTO: AutoLookahead(timesteps, prior, BYTE_PRICE_US / 1e6)}


async def _classify(
    bundle: Bundle, samples: Sequence[Sample], address: str, policies: Mapping[str, Lookahead]
) -> dict[str, list[Verdict]]:
    head, config = open_head(bundle), edge_config(bundle, address)
    verdicts: dict[str, list[Verdict]] = {name: [] for name in policies}
    async with contextlib.AsyncExitStack() as stack:
        networks = {
            name: await stack.enter_async_context(open_edge(config, bundle, head=head, lookahead=lookahead))
            for name, lookahead in policies.items()
        }
        for network in networks.values():  # everything warms up, and auto learns what the link is like
            for sample in samples[:WARM_UP]:
                await network.classify(sample)
        names = list(networks)
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


def _targets(figures: Mapping[str, Figures], last: str) -> list[Goal]:
    def p50(name: str) -> float:
        return float(figures[name]["latency ms p10 / p50 / p90"][1])

    longer = {name: found["latency ms p50, more than one timestep"] for name, found in figures.items()}
    none = "no sample needed more than one timestep" if longer[AUTO] is None else ""
    cheapest, bytes_ratio = _cheapest_as_fast(figures)
    return [
        Goal(
            "auto's median latency : the better of lockstep's and full streaming's",
            1.15,
            round(p50(AUTO) / min(p50("1"), p50(last)), 3),
            "ratio",
            "lower",
        ),
        Goal(
            "lockstep's median latency : auto's, samples of more than one timestep",
            1.5,
            None if none else round(longer["1"] / longer[AUTO], 3),
            "ratio",
            "higher",
            none,
        ),
        Goal(
            "auto's wire bytes : those of the cheapest policy that is as fast",
            1.10,
            bytes_ratio,
            "ratio",
            "lower",
            f"that is {cheapest}; as fast: both medians within {AS_FAST - 1:.0%} of auto's"
            if cheapest
            else "auto itself: no fixed number is as fast, overall and on samples of more than one timestep",
        ),
    ]


def _cheapest_as_fast(figures: Mapping[str, Figures]) -> tuple[str | None, float]:
    """The fixed lookahead with the fewest bytes of those that are as fast as auto, and auto's bytes to its."""

    def times(name: str) -> list[float]:
        found = figures[name]
        return [found["latency ms p10 / p50 / p90"][1], found["latency ms p50, more than one timestep"] or 0.0]

    as_fast = [
        name
        for name in figures
        if name != AUTO and all(one <= other * AS_FAST for one, other in zip(times(name), times(AUTO), strict=True))
    ]
    if not as_fast:
        return None, 1.0
    cheapest = min(as_fast, key=lambda name: float(figures[name]["wire bytes per sample"]))
    ratio = figures[AUTO]["wire bytes per sample"] / figures[cheapest]["wire bytes per sample"]
    return cheapest, round(float(ratio), 3)


def _answer(verdict: Verdict) -> tuple[int, int]:
    return verdict.prediction, verdict.timesteps
