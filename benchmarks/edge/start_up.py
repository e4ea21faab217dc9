"""How soon an edge process has its first verdict, and what it holds in memory: without torch, and with it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks.edge.base import QUIET_CLOUD, Measurement, Setup
from benchmarks.edge.heads import with_graphs
from benchmarks.edge.pictures import write_pictures
from benchmarks.processes import CloudProcess, EdgeProcess
from benchmarks.record import Goal
from shared.bundle import Bundle
from shared.errors import NeucodexError

GOAL_S = 2.0
GOAL_MIB = 150.0
RUNTIMES = ("onnx", "onnx-int8", "torch")


def measure(setup: Setup) -> Measurement:
    """Start edges one after the other, the runtimes in turn; each classifies pictures from a folder at full T."""
    starts, samples = (1, 10) if setup.quick else (7, 200)
    bundle = with_graphs(setup)
    pictures = write_pictures(bundle, setup.dataset, setup.data, samples, setup.folder / "start-up-pictures")
    first_s: dict[str, list[float]] = {name: [] for name in RUNTIMES}
    mib: dict[str, list[float]] = {name: [] for name in RUNTIMES}
    with CloudProcess([bundle.path], setup.folder / "start-up", *QUIET_CLOUD) as cloud:
        cloud.wait_ready()
        for _ in range(starts):
            for runtime in RUNTIMES:
                seconds, resident = _one(bundle, cloud, runtime, pictures, samples, setup.folder / "start-up.log")
                first_s[runtime].append(seconds)
                mib[runtime].append(resident)
    return Measurement(
        n={"starts of each": starts, "pictures of each": samples},
        results={
            "seconds from process start to first verdict, all": first_s,
            "MiB resident at most, all": mib,
        },
        targets=[
            Goal(
                "first verdict of an edge without torch after its process start",
                GOAL_S,
                round(statistics.median(first_s["onnx"]), 2),
                "s",
                "lower",
                f"median; with torch {statistics.median(first_s['torch']):.2f}",
            ),
            Goal(
                "resident memory of an edge without torch, at most",
                GOAL_MIB,
                round(max(mib["onnx"]), 1),
                "MiB",
                "lower",
                f"peak of its whole life; with torch {max(mib['torch']):.1f}",
            ),
        ],
    )


def _one(
    bundle: Bundle, cloud: CloudProcess, runtime: str, pictures: Path, samples: int, log: Path
) -> tuple[float, float]:
    """Seconds to the first verdict, and MiB at the peak until the last but one."""
    flags = ["--bundle", str(bundle.path), "--cloud", cloud.listen, "--images", str(pictures)]
    begun = time.perf_counter()
    with EdgeProcess([*flags, "--runtime", runtime, "--full-t"], log) as edge:
        edge.wait_for_lines(1)
        first = time.perf_counter() - begun
        # Read while it lives: the last picture may end it.
        there = edge.wait_for_lines(samples - 1)
        peak = edge.peak_resident_mib()
        if runtime != "torch" and edge.has_loaded("libtorch"):
            raise NeucodexError(f"the edge with --runtime {runtime} has loaded torch")
        edge.wait()
    if not there:
        raise NeucodexError(f"the edge gave fewer than {samples} verdicts: {log.read_text().strip()}")
    return round(first, 3), round(peak, 1)
