"""What a measurement is made with: clouds, generators, the bare loop and the echo, each in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.echo import EchoServer
from benchmarks.load.generator import Generator
from benchmarks.load.offline import Offline, OfflineLoop
from benchmarks.load.samples import LoadSamples
from benchmarks.load.statistics import Load, merge, percentiles, shares, stage_means
from benchmarks.load.worker import WorkerProcess
from benchmarks.processes import CloudProcess
from cloud_server.config import Device, Precision

OFFLINE_PICTURES = 512
"""The bare loop needs some frames, not all of a data set's."""

IDLE_TIMEOUT_S = 300
"""Streams may be left alone while others are measured."""

SLOTS_TO_SPARE = 64


@dataclass(frozen=True)
class Layout:
    """How the processes share the machine; the same for everything that is compared.

    Attributes:
        threads: of a tail step, in the cloud and in the bare loop.
        generators: processes that hold streams.
        max_batch: of the cloud that batches.
        device, precision: of the tails.
        slots: samples in flight, and streams, that a cloud is made for.
    """

    threads: int
    generators: int
    max_batch: int
    device: Device
    precision: Precision
    slots: int

    @classmethod
    def choose(cls, cores: int, threads: int | None, max_batch: int, slots: int, device: Device = "cpu") -> Layout:
        """A core for event loop and generators where there are two, and more generators on larger machines.

        On a GPU convolutions are fp16: that is what one is bought for.
        """
        threads = threads if threads is not None else max(1, cores - 1)
        precision: Precision = "fp16" if device == "cuda" else "fp32"
        return cls(threads, max(1, min(8, cores // 4)), max_batch, device, precision, slots + SLOTS_TO_SPARE)

    def cloud(self, bundle: Path, folder: Path, max_batch: int) -> CloudProcess:
        """Start a cloud; `folder` receives its ready file."""
        flags = {
            "--log-level": "warning",
            "--threads": self.threads,
            "--max-batch": max_batch,
            "--device": self.device,
            "--precision": self.precision,
            "--slots": self.slots,
            "--max-streams": self.slots,
            "--sample-idle-timeout": IDLE_TIMEOUT_S,
        }
        return CloudProcess([bundle], folder, *chain.from_iterable(flags.items()))


@dataclass(frozen=True)
class Driven:
    """A window of load on one cloud: what the generators saw and what the cloud says of itself.

    Attributes:
        load: of all generators.
        cloud_share: cores that the cloud used.
        stage_us: mean microseconds of each stage in the cloud: queue of a frame, the others of a batch.
    """

    load: Load
    cloud_share: float
    stage_us: Mapping[str, float]

    def summary(self) -> dict[str, Any]:
        """As it stands in a record."""
        load = self.load
        return {
            "steps_per_second": round(load.steps_per_second, 1),
            "mean_batch": round(load.mean_batch(), 2),
            "rejections": load.rejections,
            "round_trip_us": percentiles(load.rows[:, 0]),
            "queue_us": percentiles(load.rows[:, 1]),
            "compute_us": percentiles(load.rows[:, 2]),
            "stage_us": dict(self.stage_us),
            "cloud_cores": round(self.cloud_share, 2),
            "generator_cores": round(self.load.generator_share, 2),
        }


class LoadRig:
    """All processes of one comparison, started together. A context manager: its end ends them.

    Args:
        bundle: the bundle's folder.
        samples: what the generators send.
        layout: of the processes.
        folder: for ready files.
        alone: whether there is a second cloud that steps each frame alone, and an echo.
    """

    def __init__(self, bundle: Path, samples: LoadSamples, layout: Layout, folder: Path, *, alone: bool = True) -> None:
        self.layout = layout
        self.samples = samples
        with ExitStack() as stack:
            self.cloud = stack.enter_context(layout.cloud(bundle, folder / "cloud", layout.max_batch))
            self.loop = stack.enter_context(
                WorkerProcess(
                    partial(
                        OfflineLoop,
                        bundle,
                        layout.device,
                        layout.precision,
                        layout.max_batch,
                        layout.threads,
                        samples.spikes[:OFFLINE_PICTURES],
                    )
                )
            )
            self.generators = [
                stack.enter_context(WorkerProcess(partial(Generator, samples))) for _ in range(layout.generators)
            ]
            self._alone = stack.enter_context(layout.cloud(bundle, folder / "alone", 1)) if alone else None
            echo = stack.enter_context(WorkerProcess(partial(EchoServer, samples.typical_answer()))) if alone else None
            for cloud in (self.cloud, self._alone):
                if cloud is not None:
                    cloud.wait_ready()
            self.echo = echo.call(EchoServer.address) if echo is not None else ""
            self._stack = stack.pop_all()

    def __enter__(self) -> LoadRig:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def alone(self) -> CloudProcess:
        """The cloud that steps each frame alone."""
        assert self._alone is not None
        return self._alone

    def lockstep(
        self, cloud: CloudProcess, streams: int, warm: float, seconds: float, stop_chance: float = 0.0
    ) -> Driven:
        """Drive so many streams in lockstep, and count for some seconds after some seconds of warm-up."""
        with Fleet(self.generators, cloud, streams) as fleet:
            start = time.monotonic() + warm
            waits = [worker.begin(Generator.lockstep, start, seconds, stop_chance) for worker, _ in fleet.parts]
            return watch(cloud, start, seconds, waits)

    def arrivals(self, rate: float, streams: int, warm: float, seconds: float) -> Driven:
        """Send frames at random times, `rate` a second in all, spread over so many streams."""
        with Fleet(self.generators, self.cloud, streams) as fleet:
            start = time.monotonic() + warm
            waits = [
                worker.begin(Generator.arrivals, start, seconds, rate * held / streams, seed)
                for seed, (worker, held) in enumerate(fleet.parts)
            ]
            return watch(self.cloud, start, seconds, waits)

    def offline(self, batches: Mapping[int, float], seconds: float) -> Offline:
        """The bare loop at these batch sizes; the clouds are idle meanwhile."""
        return self.loop.call(OfflineLoop.rate, batches, seconds)


class Fleet:
    """Streams open on a cloud, shared by the generators; `parts` are those that have some, with how many."""

    def __init__(self, generators: Sequence[WorkerProcess[Generator]], cloud: CloudProcess, streams: int) -> None:
        self.parts = list(zip(generators, shares(streams, len(generators)), strict=False))
        waits = [worker.begin(Generator.open, cloud.listen, held) for worker, held in self.parts]
        self.seconds = max(wait() for wait in waits)
        """It took to open them."""

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for wait in [worker.begin(Generator.close) for worker, _ in self.parts]:
            wait()


def watch(cloud: CloudProcess, start: float, seconds: float, waits: Sequence[Any]) -> Driven:
    """Look at a cloud at the window's beginning and end, then take what the generators saw."""
    time.sleep(max(0.0, start - time.monotonic()))
    stages, cpu, began = cloud.stages(), cloud.cpu_seconds(), time.monotonic()
    time.sleep(max(0.0, start + seconds - time.monotonic()))
    used, took = cloud.cpu_seconds() - cpu, time.monotonic() - began
    means = stage_means(stages, cloud.stages())
    return Driven(merge([wait() for wait in waits]), used / took, means)
