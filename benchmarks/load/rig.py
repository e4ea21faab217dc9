"""A cloud under load: its process, those of the generators, and what both say of a window of time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.load.generator import Generator
from benchmarks.load.samples import LoadSamples
from benchmarks.load.statistics import Load, merge, percentiles, shares, stage_means
from benchmarks.processes import CloudProcess
from benchmarks.worker import WorkerProcess
from cloud_server.config import Device, Precision

IDLE_TIMEOUT_S = 300
"""Streams may be left alone while others are measured."""

SLOTS_TO_SPARE = 64
"""Beside those for all streams: one address gets 8/9 of the slots and streams of a cloud."""


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
        slots += slots // 8 + SLOTS_TO_SPARE
        return cls(threads, max(1, min(8, cores // 4)), max_batch, device, precision, slots)

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


@dataclass(frozen=True)
class OpenStreams:
    """Streams open on a cloud: `workers` hold `held` each. It took `seconds` to open them."""

    workers: Sequence[WorkerProcess[Generator]]
    held: Sequence[int]
    seconds: float


class Fleet(ExitStack):
    """Generator processes, which open streams on a cloud. A context manager: its end ends the processes."""

    def __init__(self, samples: LoadSamples, layout: Layout) -> None:
        super().__init__()
        self._generators = [
            self.enter_context(WorkerProcess(partial(Generator, samples))) for _ in range(layout.generators)
        ]

    @contextmanager
    def on(self, cloud: CloudProcess, streams: int, generators: int | None = None) -> Iterator[OpenStreams]:
        """So many streams on a cloud for the block, shared by all generators or by the first ones; then cut."""
        held = shares(streams, len(self._generators[:generators]))
        workers = self._generators[: len(held)]
        opening = [
            worker.begin(Generator.open, cloud.listen, count) for worker, count in zip(workers, held, strict=True)
        ]
        yield OpenStreams(workers, held, max(wait() for wait in opening))
        for wait in [worker.begin(Generator.close) for worker in workers]:
            wait()

    def drive(
        self,
        cloud: CloudProcess,
        streams: int,
        warm: float,
        seconds: float,
        stop_chance: float = 0.0,
        pause_s: float = 0.0,
    ) -> Driven:
        """Drive so many streams, and count for some seconds after some seconds of warm-up; see `Generator.drive`."""
        with self.on(cloud, streams) as opened:
            start = time.monotonic() + warm
            waits = [worker.begin(Generator.drive, start, seconds, stop_chance, pause_s) for worker in opened.workers]
            time.sleep(warm)
            stages, cpu, began = cloud.stages(), cloud.cpu_seconds(), time.monotonic()
            time.sleep(max(0.0, start + seconds - time.monotonic()))
            used, took = cloud.cpu_seconds() - cpu, time.monotonic() - began
            means = stage_means(stages, cloud.stages())
            return Driven(merge([wait() for wait in waits]), used / took, means)
