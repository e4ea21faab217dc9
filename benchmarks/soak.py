"""`make soak`: a million frames through one cloud, and what it holds afterwards.

The load comes in stretches. In each, all streams open again, run samples in lockstep of which many stop early, and
are cut in the middle of what they do. Between two stretches, when nobody is connected, memory, descriptors, threads
and the cloud's own gauges are read: whatever a frame, a sample or a stream leaves behind adds up from one to the next.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import linear_regression
from typing import Any

import click

from benchmarks.load.frames import encode, pictures_of, untrained_bundle
from benchmarks.load.rig import Fleet, Layout
from benchmarks.processes import CloudProcess, allow_many_files
from benchmarks.record import Findings, Goal
from cloud_server.engine.threads import usable_cores
from shared.bundle import Bundle
from shared.errors import CloudUnavailable

STOP_CHANCE = 0.2
WARM_UP = 0.2
"""Part of the run in which caches and the allocator's heaps still grow; drift is taken from what follows."""

MOST_DRIFT_MB = 8.0
"""Per million frames: one object of the least size Python has, 16 bytes, left behind by each frame would be 16 MB."""

GONE_S = 5.0
"""Seconds in which a cloud must have let go of streams that were cut."""

LEAST_FRAMES = 200_000
"""In less than this, the allocator's ups and downs are larger than any drift."""

TINY_WIDTH, TINY_SIDE = 4, 8
"""Of the network of --tiny: a frame costs what serving it costs, and hardly more."""

BEATS = "neucodex_cloud_loop_lag_seconds_count"

GAUGES = {
    "streams": "neucodex_cloud_streams",
    "slots_in_use": "neucodex_cloud_slots_in_use",
    "queue_length": "neucodex_cloud_queue_length",
}


def measure(
    bundle: Path,
    dataset: str,
    data: Path | None,
    *,
    tiny: bool,
    frames: int,
    streams: int,
    stretch: float,
    threads: int | None,
) -> Findings:
    """Send frames for a long time and see whether the cloud grows; `neucodex-bench soak --help` names the arguments."""
    allow_many_files()
    layout = Layout.choose(usable_cores(), threads, 32, streams)
    with tempfile.TemporaryDirectory(prefix="neucodex-soak-") as scratch:
        opened = untrained_bundle(Path(scratch) / "tiny", TINY_WIDTH, TINY_SIDE) if tiny else Bundle.open(bundle)
        pictures = pictures_of(opened, dataset, data, frames)
        with (
            layout.cloud(opened.path, Path(scratch), layout.max_batch) as cloud,
            Fleet(encode(opened, pictures), layout) as fleet,
        ):
            cloud.wait_ready()
            looks, rejections = _soak(cloud, fleet, streams, frames, stretch)
    return Findings(
        n={"frames": looks[-1]["frames"], "looks": len(looks), "streams": streams, "stretch_s": stretch},
        results={
            "bundle": opened.manifest.name,
            "layout": vars(layout),
            "rejections": rejections,
            "drift": drift(looks),
            "looks": looks,
        },
        targets=goals(looks, frames),
    )


def drift(looks: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How each count changed for each million frames, by the straight line through the looks after the warm-up."""
    late = settled(looks)
    millions = [look["frames"] / 1e6 for look in late]
    names = [name for name in looks[0] if name not in ("frames", "seconds")]
    return {name: round(linear_regression(millions, [look[name] for look in late]).slope, 3) for name in names}


def settled(looks: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """The looks after the warm-up; at least two, if there are as many."""
    late = [look for look in looks if look["frames"] >= WARM_UP * looks[-1]["frames"]]
    return late if len(late) >= 2 else list(looks[-2:])


def goals(looks: Sequence[Mapping[str, float]], frames: int) -> list[Goal]:
    """No growth of memory beyond noise, and nothing at all left behind of what can be counted."""
    late, change = settled(looks), drift(looks)
    first, last = late[0], late[-1]
    grown: float | None = change["resident_mb"]
    note = f"{first['resident_mb']:.1f} MB after the warm-up, {last['resident_mb']:.1f} MB at the end"
    if last["frames"] < LEAST_FRAMES:
        grown, note = None, f"{last['frames']:.0f} frames are too few to tell"
    return [
        Goal("frames answered", frames, last["frames"], "frames", "higher"),
        Goal("memory's drift", MOST_DRIFT_MB, grown, "MB per million frames", "lower", note),
        *(
            Goal(f"{name} more than after the warm-up", 0, last[name] - first[name], name, "lower")
            for name in ("descriptors", "threads", "tasks")
        ),
        *(Goal(f"{name.replace('_', ' ')} at the end", 0, last[name], name, "lower") for name in GAUGES),
    ]


def _soak(
    cloud: CloudProcess, fleet: Fleet, streams: int, frames: int, stretch: float
) -> tuple[list[dict[str, float]], int]:
    """A look after each stretch, and the rejections in all."""
    began, rejections = time.monotonic(), 0
    looks = [_look(cloud, began)]
    with click.progressbar(length=frames, label="frames", show_pos=True, file=sys.stderr) as progress:
        while looks[-1]["frames"] < frames:
            rejections += fleet.drive(cloud, streams, 0.0, stretch, STOP_CHANCE).load.rejections
            looks.append(_look(cloud, began, looks[0]["descriptors"]))
            answered = looks[-1]["frames"] - looks[-2]["frames"]
            if not answered:
                raise CloudUnavailable(f"no frame was answered in {stretch:g} s")
            progress.update(int(answered))
    return looks, rejections


def _look(cloud: CloudProcess, began: float, most: float = math.inf) -> dict[str, float]:
    """What the cloud holds when nobody is connected; it is given time until it has at most so many descriptors."""
    page: dict[str, Any] = cloud.metrics()
    give_up = time.monotonic() + GONE_S
    # Sockets are closed a little after their streams; what is still there when the time is up, stays.
    while (page[GAUGES["streams"]] or cloud.descriptors() > most) and time.monotonic() < give_up:
        time.sleep(0.05)
        page = cloud.metrics()
    beats = page[BEATS]
    while page[BEATS] <= beats and time.monotonic() < give_up:  # it counts its tasks again
        time.sleep(0.05)
        page = cloud.metrics()
    return {
        "frames": page["neucodex_cloud_frames_total"],
        "seconds": round(time.monotonic() - began, 1),
        "resident_mb": round(cloud.resident_mb(), 2),
        "descriptors": cloud.descriptors(),
        "threads": cloud.threads(),
        "tasks": page["neucodex_cloud_tasks"],
        **{name: page[metric] for name, metric in GAUGES.items()},
    }
