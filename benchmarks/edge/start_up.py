"""How soon an edge process has its first verdict, and what it holds in memory: without torch, and with it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks.dataset_samples import write_pictures
from benchmarks.edge.base import QUIET_CLOUD, Setup
from benchmarks.edge.heads import with_graphs
from benchmarks.processes import CloudProcess, EdgeProcess
from benchmarks.record import Findings, Goal
from shared.errors import NeucodexError

GOAL_S = 2.0
GOAL_MIB = 150.0
RUNTIMES = ("onnx", "onnx-int8", "torch")


def measure(setup: Setup) -> Findings:
    """Start edges one after the other, the runtimes in turn; each classifies pictures from a folder at full T."""
    starts, samples = (1, 10) if setup.quick else (7, 200)
    bundle = with_graphs(setup)
    pictures = write_pictures(bundle, setup.dataset, setup.data, samples, setup.folder / "start-up-pictures")
    first_s: dict[str, list[float]] = {name: [] for name in RUNTIMES}
    mib: dict[str, list[float]] = {name: [] for name in RUNTIMES}
    with CloudProcess([bundle.path], setup.folder / "start-up", *QUIET_CLOUD).wait_ready() as cloud:
        flags = ["--bundle", str(bundle.path), "--cloud", cloud.listen, "--images", str(pictures), "--full-t"]
        for _ in range(starts):
            for runtime in RUNTIMES:
                seconds, resident = _one(flags, runtime, samples, setup.folder / "start-up.log")
                first_s[runtime].append(round(seconds, 3))
                mib[runtime].append(round(resident, 1))
    first = {name: round(statistics.median(values), 2) for name, values in first_s.items()}
    peak = {name: max(values) for name, values in mib.items()}
    first_goal = "first verdict of an edge without torch after its process start"
    peak_goal = "resident memory of an edge without torch, at most"
    return Findings(
        n={"starts of each": starts, "pictures of each": samples},
        results={
            "seconds from process start to first verdict, all": first_s,
            "MiB resident at most, all": mib,
        },
        targets=[
            Goal(first_goal, GOAL_S, first["onnx"], "s", "lower", f"median; with torch {first['torch']}"),
            Goal(peak_goal, GOAL_MIB, peak["onnx"], "MiB", "lower", f"peak; with torch {peak['torch']}"),
        ],
    )


def _one(flags: list[str], runtime: str, samples: int, log: Path) -> tuple[float, float]:
    """Seconds to the first verdict, and MiB at the peak until the last but one."""
    begun = time.perf_counter()
    with EdgeProcess([*flags, "--runtime", runtime], log) as edge:
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
    return first, peak
