"""How well one cloud serves a fleet: real gRPC against a real process, beside the same tail in a bare loop.

Everything that is compared runs in turns within one run, on processes that stay: the cloud, one that steps each frame
alone, the bare loop, a bare gRPC echo, and the generators of streams. While one is measured the others sleep.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.echo import EchoServer
from benchmarks.load.frames import encode, pictures_of, untrained_bundle
from benchmarks.load.generator import Generator
from benchmarks.load.goals import COMPARED, CROWD, LOAD, TOLERANCE, goals
from benchmarks.load.offline import OfflineLoop
from benchmarks.load.rig import Fleet, Layout
from benchmarks.load.samples import LoadSamples
from benchmarks.load.statistics import QUEUE, percentiles, summarize
from benchmarks.processes import CloudProcess, allow_many_files
from benchmarks.record import Findings
from benchmarks.worker import WorkerProcess
from cloud_server.config import Device
from cloud_server.engine.threads import usable_cores
from shared.bundle import Bundle

FIXED_BATCHES = (1, 8, 32)
ALL_PICTURES = 1_000_000
OFFLINE_PICTURES = 512
"""The bare loop needs some frames, not all of a data set's."""


@dataclass(frozen=True)
class ServingPlan:
    """How much of everything: times in seconds, `compared` and `pool` in streams.

    `compared` streams are those of the comparison with stepping alone, and of the load whose 70 % is offered later by
    `pool` streams. `trips` of one stream go to and fro in each of `rounds`.
    """

    streams: tuple[int, ...] = (1, 8, COMPARED, 256)
    rounds: int = 5
    warm: float = 1.0
    seconds: float = 6.0
    offline_seconds: float = 4.0
    offered_seconds: float = 30.0
    compared: int = COMPARED
    pool: int = 256
    crowd: int = CROWD
    trips: int = 200
    pictures: int = ALL_PICTURES

    @classmethod
    def choose(cls, streams: tuple[int, ...], limit: int | None, quick: bool) -> ServingPlan:
        """The full plan, or one of seconds; `streams` and `limit` (of pictures) replace its own."""
        plan = cls()
        if quick:
            plan = cls((1, 4), 1, 0.1, 0.4, 0.2, 0.8, compared=4, pool=8, crowd=12, trips=8, pictures=6)
        elif limit:
            plan = replace(plan, pictures=limit)
        if streams:
            compared = plan.compared if plan.compared in streams else max(streams)
            plan = replace(plan, streams=tuple(sorted(set(streams))), compared=compared)
        return plan


def measure(
    bundle: Path,
    dataset: str,
    data: Path | None,
    *,
    full_width: bool,
    streams: tuple[int, ...],
    threads: int | None,
    max_batch: int,
    device: Device,
    limit: int | None,
    quick: bool,
) -> Findings:
    """Measure all of it; `neucodex-bench serving --help` says what each argument is.

    Raises:
        BundleError, SourceError: the bundle cannot be served, or the data set does not fit it.
        CloudUnavailable: a cloud process did not start.
    """
    allow_many_files()
    plan = ServingPlan.choose(streams, limit, quick)
    with tempfile.TemporaryDirectory(prefix="neucodex-serving-") as folder:
        opened = untrained_bundle(Path(folder) / "full") if full_width else Bundle.open(bundle)
        pictures = pictures_of(opened, dataset, data, plan.pictures)
        most = max(plan.pool, plan.crowd, *plan.streams)
        layout = Layout.choose(usable_cores(), threads, max_batch, most, device)
        with _started(opened.path, encode(opened, pictures), layout, Path(folder)) as rig:
            results = {"bundle": opened.manifest.name, "tail": _tail(opened), "layout": vars(layout)}
            results |= _measure_all(rig, plan)
    n = {"timesteps": opened.manifest.network.timesteps, **vars(plan), "pictures": len(pictures)}
    return Findings(n, results, goals(results, complete=not quick))


@dataclass(frozen=True)
class ServingRig:
    """All processes of the comparison: the cloud, the one that steps each frame alone, the bare loop, generators."""

    samples: LoadSamples
    cloud: CloudProcess
    alone: CloudProcess
    loop: WorkerProcess[OfflineLoop]
    fleet: Fleet
    echo: str


@contextmanager
def _started(bundle: Path, samples: LoadSamples, layout: Layout, folder: Path) -> Iterator[ServingRig]:
    """All of them, started together, for the block."""
    tail = (bundle, layout.device, layout.precision, layout.max_batch, layout.threads)
    with (
        layout.cloud(bundle, folder / "cloud", layout.max_batch) as cloud,
        layout.cloud(bundle, folder / "alone", 1) as alone,
        WorkerProcess(partial(OfflineLoop, *tail, samples.spikes[:OFFLINE_PICTURES])) as loop,
        Fleet(samples, layout) as fleet,
        WorkerProcess(partial(EchoServer, samples.typical_answer())) as echo,
    ):
        yield ServingRig(samples, cloud.wait_ready(), alone.wait_ready(), loop, fleet, echo.call(EchoServer.start))


def _tail(bundle: Bundle) -> str:
    spec = bundle.manifest.network
    return f"{spec.backbone}, width {spec.width}, input {spec.input_shape}, cut after {spec.split}"


def _measure_all(rig: ServingRig, plan: ServingPlan) -> dict[str, Any]:
    results = _throughput(rig, plan)
    rate = LOAD * results["alone"]["batched_steps_per_second"]["median"]
    return {
        **results,
        "one_stream": _one_stream(rig, plan),
        "crowd": _crowd(rig, plan),
        "same_answers": _same_answers(rig, plan),
        "offered": _offered(rig, plan, rate),
    }


def _throughput(rig: ServingRig, plan: ServingPlan) -> dict[str, Any]:
    """Steps a second at every number of streams, the bare loop at the batch sizes seen there, and stepping alone."""
    served: dict[int, list[dict[str, Any]]] = {streams: [] for streams in plan.streams}
    fixed: dict[int, list[float]] = {size: [] for size in FIXED_BATCHES}
    alone: list[dict[str, Any]] = []
    for turn in range(plan.rounds):
        for streams in plan.streams:
            _say(f"round {turn + 1} of {plan.rounds}: {streams} streams")
            driven = rig.fleet.drive(rig.cloud, streams, plan.warm, plan.seconds)
            offline = rig.loop.call(OfflineLoop.rate, driven.load.batches(), plan.offline_seconds)
            ratio = driven.load.steps_per_second / offline
            served[streams].append({**driven.summary(), "offline": offline, "ratio": ratio})
            if streams == plan.compared:
                alone.append(rig.fleet.drive(rig.alone, streams, plan.warm, plan.seconds).summary())
        for size in FIXED_BATCHES:
            fixed[size].append(rig.loop.call(OfflineLoop.rate, {size: 1.0}, plan.offline_seconds / 2))
    rates, apart = ([turn["steps_per_second"] for turn in turns] for turns in (served[plan.compared], alone))
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


def _one_stream(rig: ServingRig, plan: ServingPlan) -> dict[str, Any]:
    """A lone lockstep stream: what a round trip takes beyond the time that the cloud reports for its step."""
    _say("one stream and the echo, in turns")
    with rig.fleet.on(rig.cloud, 1) as opened:
        (worker,) = opened.workers
        worker.call(Generator.round_trips, rig.echo, max(plan.trips // 10, 1))  # warm-up
        turns = [worker.call(Generator.round_trips, rig.echo, plan.trips) for _ in range(plan.rounds)]
    cloud, echo, rested = (
        np.concatenate([turn[name] for turn in turns]) for name in ("cloud", "echo", "echo after a pause")
    )
    overhead = cloud[:, 0] - cloud[:, 2]
    return {
        "trips": len(cloud),
        "round_trip_us": percentiles(cloud[:, 0]),
        "queue_us": percentiles(cloud[:, 1]),
        "compute_us": percentiles(cloud[:, 2]),
        "overhead_us": percentiles(overhead),
        "echo_us": percentiles(echo),
        "echo_after_a_pause_us": percentiles(rested),
        "times_echo": round(float(np.median(overhead) / np.median(echo)), 2),
        "times_echo_after_a_pause": round(float(np.median(overhead) / np.median(rested)), 2),
    }


def _offered(rig: ServingRig, plan: ServingPlan, rate: float) -> dict[str, Any]:
    """Frames at random times at part of the measured throughput: how long they wait, in steps of their batches."""
    _say(f"{rate:.0f} frames a second at random times")
    driven = rig.fleet.drive(rig.cloud, plan.pool, plan.warm, plan.offered_seconds, pause_s=plan.pool / rate)
    rows = driven.load.rows
    step = float(np.median(rows[:, 2])) if len(rows) else None  # a short window may have seen none
    return {
        "asked_steps_per_second": round(rate, 1),
        "streams": plan.pool,
        "step_us": round(step) if step else None,
        "queue_in_steps": percentiles(rows[:, QUEUE] / step, 2) if step else None,
        **driven.summary(),
    }


def _crowd(rig: ServingRig, plan: ServingPlan) -> dict[str, Any]:
    """Very many streams open at once, each with one sample, all of them at the same time."""
    _say(f"{plan.crowd} streams at once")
    pictures = len(rig.samples.frames)
    with rig.fleet.on(rig.cloud, plan.crowd) as opened:
        there = int(rig.cloud.metrics()["neucodex_cloud_streams"])
        waits = [
            worker.begin(Generator.answers, [number % pictures for number in range(held)])
            for worker, held in zip(opened.workers, opened.held, strict=True)
        ]
        loads = [wait()[1] for wait in waits]
    timesteps = len(rig.samples.frames[0])
    return {
        "streams": plan.crowd,
        "open_at_once": there,
        "served": sum(len(load.rows) // timesteps for load in loads),
        "seconds_to_open": round(opened.seconds, 2),
    }


def _same_answers(rig: ServingRig, plan: ServingPlan) -> dict[str, Any]:
    """Every picture once alone on the cloud, and once in company: what the others in a batch change.

    An answer differs where rounding flipped a spike, so that a confidence differs by more than `TOLERANCE`.
    """
    pictures = range(len(rig.samples.frames))
    found = []
    for streams in (1, plan.compared):
        _say(f"answers to {len(pictures)} pictures over {streams} streams")
        with rig.fleet.on(rig.cloud, streams, generators=1) as opened:
            answers, load = opened.workers[0].call(Generator.answers, pictures)
            found.append((np.stack([answers[picture] for picture in pictures]), load))
    (solo, solo_load), (together, load) = found
    differences = np.abs(solo - together).max(-1)
    return {
        "pictures": len(pictures),
        "mean_batch_alone": round(solo_load.mean_batch(), 2),
        "mean_batch_together": round(load.mean_batch(), 2),
        "predictions_differ": int((solo.argmax(-1) != together.argmax(-1)).any(-1).sum()),
        "largest_confidence_difference": float(differences.max()),
        "answers_that_differ": round(float((differences > TOLERANCE).mean()), 6),
    }


def _say(what: str) -> None:
    click.echo(what, err=True)
