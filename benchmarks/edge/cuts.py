"""A link that is cut and a cloud that is killed while an edge classifies: each sample answered once, and as ever?"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.dataset_samples import write_pictures
from benchmarks.edge.base import QUIET_CLOUD, Setup
from benchmarks.links.proxy import CUTS, CutKind, DelayProxy, LinkProcess
from benchmarks.processes import CloudProcess, EdgeProcess
from benchmarks.record import Findings, Goal
from edge_client.heads.local_exit import open_local_exit
from shared.bundle import Bundle

SEED = 7
DELAY_S = 0.005
IN_FLIGHT = "4"
ARRIVAL_S = 0.1
"""Between two pictures where the edge falls back: without a cloud it would have answered them all within one cut."""

CONFIDENCE = 1e-4
"""Confidences of the same frames differ by less: batches sum in another order."""

NAMED = ("--images", "-")
FLAGS = {"wait": ("--on-loss", "wait", "--sample-deadline", "120"), "fallback": ("--on-loss", "fallback")}

Line = dict[str, Any]


@dataclass(frozen=True)
class Trouble:
    """After so many samples the link is cut for `seconds`, or the cloud is killed (`how` None) and started again."""

    after: int
    how: CutKind | None
    seconds: float = 0.0


def plan(samples: int, cuts: int, kills: int, seconds: tuple[float, float], chance: random.Random) -> list[Trouble]:
    """Troubles spread over a run at random."""
    kinds = [*(CUTS[number % len(CUTS)] for number in range(cuts)), *[None] * kills]
    chance.shuffle(kinds)
    moments = sorted(chance.sample(range(1, samples), len(kinds)))
    return [
        Trouble(after, how, chance.uniform(*seconds) if how else 0.0) for after, how in zip(moments, kinds, strict=True)
    ]


def measure(setup: Setup) -> Findings:
    """The same pictures over a whole link and over one in trouble: by an edge that waits and one that falls back."""
    samples, cuts, kills, seconds = (60, 3, 1, (0.2, 0.5)) if setup.quick else (2000, 20, 5, (1.0, 10.0))
    troubles = plan(samples, cuts, kills, seconds, random.Random(SEED))  # noqa: S311  no secret
    bundle = Bundle.open(setup.bundle)
    folder = write_pictures(bundle, setup.dataset, setup.data, samples, setup.folder / "pictures")
    pictures = sorted(str(path) for path in folder.iterdir())
    whole, _ = run(bundle.path, NAMED, [], setup.folder / "whole", pictures)
    names = ["wait"] if open_local_exit(bundle) is None else ["wait", "fallback"]
    found, results = {}, {}
    for name in names:
        pause_s = ARRIVAL_S if name == "fallback" else 0.0
        disturbed, summary = run(bundle.path, [*NAMED, *FLAGS[name]], troubles, setup.folder / name, pictures, pause_s)
        found[name] = compare(whole, disturbed)
        results[f"--on-loss {name}"] = {
            **found[name],
            "streams opened again": summary["reconnects"],
            "latency ms p50 / p99": [round(summary[f"latency_ms_{p}"], 1) for p in ("p50", "p99")],
        }
    return Findings(
        n={"samples": samples, "cuts": cuts, "clouds killed": kills},
        results={"seconds of cuts": round(sum(trouble.seconds for trouble in troubles), 1), **results},
        targets=[goal for name in FLAGS for goal in _goals(name, samples, found.get(name))],
    )


def run(
    bundle: Path,
    flags: Sequence[str],
    troubles: Sequence[Trouble],
    folder: Path,
    pictures: Sequence[str] = (),
    every_s: float = 0.0,
) -> tuple[list[Line], Line]:
    """One run of an edge process over a proxy, several samples in flight: the lines of its samples, and its summary.

    Args:
        bundle: of both sides.
        flags: of the edge; they say what is classified.
        troubles: what happens to link and cloud, in order; one that is late follows at once.
        folder: for ready file and logs.
        pictures: names on its standard input, one by one.
        every_s: seconds between two of them.
    """

    def named() -> Iterator[str]:
        for picture in pictures:
            yield picture
            time.sleep(every_s)

    folder.mkdir(parents=True, exist_ok=True)
    # Else an answer may depend on who shared its batch, which trouble changes.
    with (
        CloudProcess([bundle], folder, *QUIET_CLOUD, "--batch-invariant").wait_ready() as cloud,
        LinkProcess(cloud.listen, DELAY_S) as link,
        EdgeProcess(
            ["--bundle", str(bundle), "--cloud", link.address, "--inflight", IN_FLIGHT, *flags],
            folder / "edge.log",
            named(),
        ) as edge,
    ):
        for trouble in troubles:
            if not edge.wait_for_lines(trouble.after):
                break
            if trouble.how is None:
                cloud.kill()
                cloud.restart()
            else:
                link.call(DelayProxy.cut, trouble.how)
                time.sleep(trouble.seconds)
                link.call(DelayProxy.mend)
        summary = edge.wait()
        return edge.samples, summary


def compare(whole: Sequence[Line], disturbed: Sequence[Line]) -> dict[str, int]:
    """How many samples have a verdict, how many two, and how many of the cloud's are not what they were."""
    undisturbed = {line["sample"]: line for line in whole}
    verdicts = [line for line in disturbed if "error" not in line]
    counts = Counter(line["sample"] for line in verdicts)
    by_cloud = [line for line in verdicts if line["answered_by"] == "cloud"]
    return {
        "verdicts": len(counts),
        "twice": sum(count > 1 for count in counts.values()),
        "by the cloud": len(by_cloud),
        "differ": sum(not _same(line, undisturbed[line["sample"]]) for line in by_cloud),
    }


def _same(one: Line, other: Line) -> bool:
    alike = all(one[field] == other[field] for field in ("prediction", "timesteps"))
    return alike and abs(one["confidence"] - other["confidence"]) < CONFIDENCE


def _goals(name: str, samples: int, found: dict[str, int] | None) -> list[Goal]:
    """`found` None: the bundle cannot do this."""
    measured = found or {}
    note = "" if found else "the bundle has no local exit"
    wanted: tuple[tuple[str, str, int, Literal["lower", "higher"]], ...] = (
        ("verdicts", "samples with a verdict", samples, "higher"),
        ("twice", "samples with two verdicts", 0, "lower"),
        ("differ", "cloud's answers that differ from the undisturbed run", 0, "lower"),
    )
    return [
        Goal(f"--on-loss {name}: {what}", goal, measured.get(key), "samples", better, note)
        for key, what, goal, better in wanted
    ]
