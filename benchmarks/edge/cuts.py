"""A link that is cut and a cloud that is killed while an edge classifies: each sample answered once, and as ever?"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.edge.part import Part, Rig
from benchmarks.edge.pictures import write_pictures
from benchmarks.edge.process import EdgeProcess
from benchmarks.links.process import LinkProcess
from benchmarks.links.proxy import CUTS, Cut
from benchmarks.load.processes import Cloud
from benchmarks.record import Target
from shared.bundle import Bundle

SEED = 7
DELAY_S = 0.005
CONFIDENCE = 1e-4
"""Confidences of the same frames differ by less: batches sum in another order."""

Line = dict[str, Any]


@dataclass(frozen=True)
class Trouble:
    """After so many samples the link is cut for `seconds`, or the cloud is killed (`how` None) and started again."""

    after: int
    how: Cut | None
    seconds: float = 0.0


def plan(samples: int, cuts: int, kills: int, seconds: tuple[float, float], chance: random.Random) -> list[Trouble]:
    """Troubles spread over a run at random."""
    kinds = [*(CUTS[number % len(CUTS)] for number in range(cuts)), *[None] * kills]
    chance.shuffle(kinds)
    moments = sorted(chance.sample(range(1, samples), len(kinds)))
    return [
        Trouble(after, how, chance.uniform(*seconds) if how else 0.0) for after, how in zip(moments, kinds, strict=True)
    ]


def measure(rig: Rig) -> Part:
    """Classify the same pictures over a whole link and over one in trouble, by an edge that waits for its cloud."""
    samples, cuts, kills, seconds = (60, 3, 1, (0.2, 0.5)) if rig.quick else (2000, 20, 5, (1.0, 10.0))
    troubles = plan(samples, cuts, kills, seconds, random.Random(SEED))  # noqa: S311  no secret
    bundle = Bundle.open(rig.bundle)
    pictures = write_pictures(bundle, rig.dataset, rig.data, samples, rig.folder / "pictures")
    flags = ["--images", str(pictures), "--on-loss", "wait", "--sample-deadline", "120", "--inflight", "4"]
    whole, _ = run(bundle.path, flags, [], rig.folder / "whole")
    disturbed, summary = run(bundle.path, flags, troubles, rig.folder / "cut")
    found = compare(whole, disturbed)
    return Part(
        n={"samples": samples, "cuts": cuts, "clouds killed": kills},
        results={
            **found,
            "seconds of cuts": round(sum(trouble.seconds for trouble in troubles), 1),
            "streams opened anew": summary["reconnects"],
            "answered by": summary["answered_by"],
            "latency ms p50 / p99": [summary["latency_ms_p50"], summary["latency_ms_p99"]],
        },
        targets=[
            Target("samples with a verdict, of those cut off and on", samples, found["verdicts"], "samples", "higher"),
            Target("samples with two verdicts", 0, found["twice"], "samples", "lower"),
            Target("cloud's answers that differ from the undisturbed run", 0, found["differ"], "samples", "lower"),
        ],
    )


def run(bundle: Path, flags: Sequence[str], troubles: Sequence[Trouble], folder: Path) -> tuple[list[Line], Line]:
    """One run of an edge process over a proxy; the lines of its samples, and its summary."""
    folder.mkdir(parents=True, exist_ok=True)
    with Cloud(bundle, folder, {"--threads": 1}) as cloud:
        cloud.wait_ready()
        with LinkProcess(cloud.address, DELAY_S) as link:
            there = ["--bundle", str(bundle), "--cloud", link.address]
            with EdgeProcess([*there, *flags], folder / "edge.log") as edge:
                for trouble in troubles:
                    if not edge.wait_for_samples(trouble.after):
                        break
                    if trouble.how is None:
                        cloud.kill()
                        cloud.restart()
                    else:
                        link.cut(trouble.how)
                        time.sleep(trouble.seconds)
                        link.mend()
                summary = edge.wait()
                return edge.samples, summary


def compare(whole: Sequence[Line], disturbed: Sequence[Line]) -> dict[str, int]:
    """How many samples have a verdict, how many two, and how many of the cloud's are not what they were."""
    undisturbed = {line["sample"]: line for line in whole}
    verdicts = [line for line in disturbed if "error" not in line]
    counts = Counter(line["sample"] for line in verdicts)
    return {
        "verdicts": len(counts),
        "twice": sum(count > 1 for count in counts.values()),
        "by the cloud": sum(line["answered_by"] == "cloud" for line in verdicts),
        "differ": sum(
            line["answered_by"] == "cloud" and not _same(line, undisturbed[line["sample"]]) for line in verdicts
        ),
    }


def _same(one: Line, other: Line) -> bool:
    alike = all(one[field] == other[field] for field in ("prediction", "timesteps"))
    return alike and abs(one["confidence"] - other["confidence"]) < CONFIDENCE
