"""How well one cloud serves a fleet: real gRPC against a real process, beside the same tail in a bare loop.

Everything that is compared runs in turns within one run, on processes that stay: the cloud, one that steps each frame
alone, the bare loop and a bare gRPC echo (`load/offline.py`), and the generators of streams (`load/generator.py`).
While one is measured the others sleep.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.load.frames import encode, noise_pictures, pictures_of, untrained_bundle
from benchmarks.load.generator import Generator
from benchmarks.load.plot import plot
from benchmarks.load.rig import Fleet, Layout, LoadRig
from benchmarks.load.statistics import QUEUE, percentiles, summarize
from benchmarks.load.targets import LOAD, TOLERANCE, targets
from benchmarks.processes import allow_many_files
from benchmarks.record import Findings
from cloud_server.engine.threads import usable_cores
from shared.bundle import Bundle

STREAMS = (1, 8, 64, 256)
GPU_STREAMS = 256
FIXED_BATCHES = (1, 8, 32)
NOISE_PICTURES = 64


@dataclass(frozen=True)
class ServingOptions:
    """What the command line says.

    Attributes:
        bundle: the bundle's folder; None for an untrained full-width ResNet-18 of CIFAR-10's size.
        dataset, data: whose test part is sent (noise if there is no bundle).
        streams: open at once, one measurement for each.
        threads: of a tail step; None leaves one core to the event loop and the generators.
        max_batch: of the cloud that batches.
        limit: of the test part's pictures; None for all.
        quick: does it run, not how fast is it.
    """

    bundle: Path | None
    dataset: str = "digits"
    data: Path | None = None
    streams: tuple[int, ...] = ()
    threads: int | None = None
    max_batch: int = 32
    limit: int | None = None
    quick: bool = False


@dataclass(frozen=True)
class ServingPlan:
    """How much of everything: times in seconds, `compared` and `pool` in streams.

    `compared` streams are those of the comparison with stepping alone, and of the load whose 70 % is offered later to
    `pool` streams. `trips` of one stream go to and fro in each of `rounds`.
    """

    streams: tuple[int, ...] = STREAMS
    rounds: int = 5
    warm: float = 1.0
    seconds: float = 6.0
    offline_seconds: float = 4.0
    offered_seconds: float = 30.0
    compared: int = 64
    pool: int = 256
    crowd: int = 1000
    trips: int = 200
    pictures: int | None = None

    @classmethod
    def choose(cls, options: ServingOptions) -> ServingPlan:
        """The full plan, or one of seconds."""
        plan = cls()
        if options.quick:
            plan = cls((1, 4), 1, 0.1, 0.4, 0.2, 0.8, compared=4, pool=8, crowd=12, trips=8, pictures=6)
        elif options.limit:
            plan = replace(plan, pictures=options.limit)
        if options.streams:
            compared = plan.compared if plan.compared in options.streams else max(options.streams)
            plan = replace(plan, streams=tuple(sorted(set(options.streams))), compared=compared)
        return plan


def measure(out: Path, options: ServingOptions) -> Findings:
    """Measure all of it; a plot goes into `out`.

    Raises:
        BundleError, SourceError: the bundle cannot be served, or the data set does not fit it.
        CloudUnavailable: a cloud process did not start.
    """
    out.mkdir(parents=True, exist_ok=True)
    allow_many_files()
    plan = ServingPlan.choose(options)
    with tempfile.TemporaryDirectory(prefix="neucodex-serving-") as folder:
        bundle = Bundle.open(options.bundle) if options.bundle else untrained_bundle(Path(folder) / "full")
        if options.bundle:
            pictures = pictures_of(bundle, options.dataset, options.data, plan.pictures)
        else:
            pictures = noise_pictures(bundle.manifest.network, plan.pictures or NOISE_PICTURES)
        samples = encode(bundle, pictures)
        most = max(plan.pool, plan.crowd, *plan.streams)
        layout = Layout.choose(usable_cores(), options.threads, options.max_batch, most)
        with LoadRig(bundle.path, samples, layout, Path(folder)) as rig:
            results = {
                "bundle": bundle.manifest.name,
                "tail": _tail(bundle),
                "layout": vars(layout),
                "frame_bytes": len(samples.typical_frame),
                **_throughput(rig, plan),
                "one_stream": _one_stream(rig, plan),
                "crowd": _crowd(rig, plan),
                "same_answers": _same_answers(rig, plan),
            }
            measured = results["alone"]["batched_steps_per_second"]["median"]
            results["offered"] = _offered(rig, plan, LOAD * measured)
        results["gpu"] = _gpu(Path(folder), plan)
    plot(results, out / "throughput.png")
    n = {"pictures": len(pictures), "timesteps": bundle.manifest.network.timesteps, **vars(plan)}
    return Findings(n, results, targets(results, complete=not options.quick))


def _tail(bundle: Bundle) -> str:
    spec = bundle.manifest.network
    return f"{spec.backbone}, width {spec.width}, input {spec.input_shape}, cut after {spec.split}"


def _throughput(rig: LoadRig, plan: ServingPlan) -> dict[str, Any]:
    """Steps a second at every number of streams, the bare loop at the batch sizes seen there, and stepping alone."""
    served: dict[int, list[dict[str, Any]]] = {streams: [] for streams in plan.streams}
    fixed: dict[int, list[float]] = {size: [] for size in FIXED_BATCHES}
    alone: list[dict[str, Any]] = []
    for turn in range(plan.rounds):
        for streams in plan.streams:
            _say(f"round {turn + 1} of {plan.rounds}: {streams} streams")
            driven = rig.lockstep(rig.cloud, streams, plan.warm, plan.seconds)
            offline = rig.offline(driven.load.batches(), plan.offline_seconds)
            ratio = driven.load.steps_per_second / offline.steps_per_second
            served[streams].append({**driven.summary(), "offline": offline.steps_per_second, "ratio": ratio})
            if streams == plan.compared:
                alone.append(rig.lockstep(rig.alone, streams, plan.warm, plan.seconds).summary())
        for size in FIXED_BATCHES:
            fixed[size].append(rig.offline({size: 1.0}, plan.offline_seconds / 2).steps_per_second)
    rates = [turn["steps_per_second"] for turn in served[plan.compared]]
    apart = [turn["steps_per_second"] for turn in alone]
    return {
        "throughput": [_merged(streams, turns) for streams, turns in served.items()],
        "offline_steps_per_second": {str(size): summarize(values, 1) for size, values in fixed.items()},
        "hardware_gain": summarize(many / one for many, one in zip(fixed[FIXED_BATCHES[-1]], fixed[1], strict=True)),
        "alone": {
            "streams": plan.compared,
            "batched_steps_per_second": summarize(rates, 1),
            "alone_steps_per_second": summarize(apart, 1),
            "gain": summarize(many / one for many, one in zip(rates, apart, strict=True)),
            "last_round": alone[-1],
        },
    }


def _merged(streams: int, turns: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "streams": streams,
        "steps_per_second": summarize((turn["steps_per_second"] for turn in turns), 1),
        "offline_steps_per_second": summarize((turn["offline"] for turn in turns), 1),
        "ratio": summarize(turn["ratio"] for turn in turns),
        "mean_batch": summarize((turn["mean_batch"] for turn in turns), 2),
        "generator_cores": max(turn["generator_cores"] for turn in turns),
        "cloud_cores": statistics.median(turn["cloud_cores"] for turn in turns),
        "rejections": sum(turn["rejections"] for turn in turns),
        "last_round": {name: turns[-1][name] for name in ("round_trip_us", "queue_us", "compute_us", "stage_us")},
    }


def _one_stream(rig: LoadRig, plan: ServingPlan) -> dict[str, Any]:
    """A lone lockstep stream: what a round trip takes beyond the cloud's step, and a bare echo of the same bytes."""
    _say("one stream and the echo, in turns")
    with Fleet(rig.generators[:1], rig.cloud, 1) as fleet:
        worker, _ = fleet.parts[0]
        worker.call(Generator.round_trips, rig.echo, 1, max(plan.trips // 10, 1))  # warm-up
        before = rig.cloud.stages()
        trips = worker.call(Generator.round_trips, rig.echo, plan.rounds, plan.trips)
        after = rig.cloud.stages()
    tail_us = (after["tail"][0] - before["tail"][0]) / (after["tail"][1] - before["tail"][1]) * 1e6
    cloud = trips["cloud"] / 1000
    overhead = cloud[:, 0] - cloud[:, 2]
    echo, rested = (trips[name] / 1000 for name in ("echo", "echo after a pause"))
    return {
        "trips": len(cloud),
        "round_trip_us": percentiles(cloud[:, 0]),
        "queue_us": percentiles(cloud[:, 1]),
        "compute_us": percentiles(cloud[:, 2]),
        "overhead_us": percentiles(overhead),
        "overhead_over_tail_alone_us": round(float(np.median(cloud[:, 0])) - tail_us),
        "echo_us": percentiles(echo),
        "echo_after_a_pause_us": percentiles(rested),
        "times_echo": round(float(np.median(overhead) / np.median(echo)), 2),
        "times_echo_after_a_pause": round(float(np.median(overhead) / np.median(rested)), 2),
        "explained": "overhead is the round trip minus the compute time reported for it (decode, gather, tail, "
        "scatter); overhead over the tail alone counts all but the network's step; the echo after a pause waits "
        "as long as a step before each message, as a machine at rest answers later",
    }


def _offered(rig: LoadRig, plan: ServingPlan, rate: float) -> dict[str, Any]:
    """Frames at random times at part of the measured throughput: how long they wait for their batch."""
    _say(f"{rate:.0f} frames a second at random times")
    driven = rig.arrivals(rate, plan.pool, plan.warm, plan.offered_seconds)
    load, summary = driven.load, driven.summary()
    step = float(np.median(load.rows[:, 2])) if len(load.rows) else None  # a short window may have seen none
    waits = percentiles(load.rows[:, QUEUE] / step, 2) if step else None
    return {
        "offered_steps_per_second": round(rate, 1),
        "streams": plan.pool,
        "step_us": round(step) if step else None,
        "queue_in_steps": waits,
        "sent_late_us": percentiles(load.late_us),
        **summary,
        "explained": "a step is the median over the frames of the compute time of the batch they were in; the queue "
        "wait is the cloud's, from the frame read to its batch begun",
    }


def _crowd(rig: LoadRig, plan: ServingPlan) -> dict[str, Any]:
    """Very many streams open at once, each with one sample, all of them at the same time."""
    _say(f"{plan.crowd} streams at once")
    with Fleet(rig.generators, rig.cloud, plan.crowd) as fleet:
        there = int(rig.cloud.metrics()["neucodex_cloud_streams"])
        waits = [worker.begin(Generator.one_sample_each) for worker, _ in fleet.parts]
        done = [wait() for wait in waits]
    return {
        "streams": plan.crowd,
        "open_at_once": there,
        "served": sum(served for served, _ in done),
        "seconds_to_open": round(fleet.seconds, 2),
        "seconds_to_serve": round(max(seconds for _, seconds in done), 2),
    }


def _same_answers(rig: LoadRig, plan: ServingPlan) -> dict[str, Any]:
    """Every picture once alone on the cloud, and once in company: what the others in a batch change."""
    pictures = range(len(rig.samples.frames))
    found = []
    for streams in (1, plan.compared):
        _say(f"answers to {len(pictures)} pictures over {streams} streams")
        with Fleet(rig.generators[:1], rig.cloud, streams) as fleet:
            found.append(fleet.parts[0][0].call(Generator.answers, pictures))
    (solo, solo_load), (together, load) = found
    differences = np.abs(solo - together).max(-1)
    return {
        "pictures": len(pictures),
        "mean_batch_alone": round(solo_load.mean_batch(), 2),
        "mean_batch_together": round(load.mean_batch(), 2),
        "predictions_differ": int((solo.argmax(-1) != together.argmax(-1)).any(-1).sum()),
        "largest_confidence_difference": float(differences.max()),
        "answers_that_differ": round(float((differences > TOLERANCE).mean()), 6),
        "explained": f"an answer differs if one of its confidences does by more than {TOLERANCE:g}: rounding flipped a "
        "spike; with --batch-invariant none does",
    }


def _gpu(folder: Path, plan: ServingPlan) -> dict[str, Any] | None:
    """The full-width tail on a GPU; None where there is none."""
    if not torch.cuda.is_available():
        return None
    bundle = untrained_bundle(folder / "gpu-bundle")
    samples = encode(bundle, noise_pictures(bundle.manifest.network, NOISE_PICTURES))
    layout = Layout.choose(usable_cores(), 1, GPU_STREAMS, GPU_STREAMS, "cuda")
    turns = []
    with LoadRig(bundle.path, samples, layout, folder / "gpu", alone=False) as rig:
        for turn in range(plan.rounds):
            _say(f"GPU, round {turn + 1} of {plan.rounds}: {GPU_STREAMS} streams")
            driven = rig.lockstep(rig.cloud, GPU_STREAMS, plan.warm, plan.seconds)
            offline = rig.offline(driven.load.batches(), plan.offline_seconds)
            ratio = driven.load.steps_per_second / offline.steps_per_second
            turns.append({**driven.summary(), "offline": offline.steps_per_second, "ratio": ratio})
    return {"device": torch.cuda.get_device_name(), "layout": vars(layout), **_merged(GPU_STREAMS, turns)}


def _say(what: str) -> None:
    click.echo(what, err=True)
