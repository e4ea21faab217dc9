"""`neucodex-bench faults`: everything breaks in random order while edges classify; no verdict may be lost or change.

Two clouds stand behind a link each. Edge processes classify the same pictures round after round, waiting for a cloud
in one round and falling back in the next; one that ends early goes on with --resume. Each round's results file is
compared with that of a run without faults.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.dataset_samples import write_pictures
from benchmarks.edge.base import QUIET_CLOUD
from benchmarks.edge.cuts import FLAGS, Line, compare
from benchmarks.faults.machine import WallClock, small_disk
from benchmarks.faults.troubles import Fault, Troubles
from benchmarks.links.proxy import LinkProcess
from benchmarks.processes import CloudProcess, EdgeProcess
from benchmarks.record import Findings, Goal
from edge_client.heads.local_exit import open_local_exit
from shared.bundle import Bundle
from shared.errors import NeucodexError, OutputError

EDGE = ("--inflight", "4", "--lookahead", "2")
CLOUD = (*QUIET_CLOUD, "--batch-invariant")
"""Else an answer may depend on who shared its batch, which trouble changes."""

KILLED, DISK_FULL = -9, OutputError.exit_code
AGAIN_S = 0.5
"""Before an edge that ended early is started again."""


@dataclass(frozen=True)
class Round:
    """All pictures classified once: what was found (see `compare`), and the exit codes of the edges that it took."""

    mode: str
    found: Mapping[str, int]
    codes: Sequence[int]


@dataclass(frozen=True)
class Edges:
    """Starts edge processes, one after the other, until all pictures have their line in the results file."""

    given: Sequence[str]
    folder: Path
    variables: Mapping[str, str]

    def run(self, flags: Sequence[str] = (), troubles: Troubles | None = None) -> tuple[list[Line], list[int]]:
        """The lines of the results, and the exit codes of the edges.

        Raises:
            NeucodexError: an edge ended in a way that no fault explains.
        """
        results, log = self.folder / "results.jsonl", self.folder / "edge.log"
        codes: list[int] = []
        while not codes or codes[-1] in (KILLED, DISK_FULL):
            if codes:
                time.sleep(AGAIN_S)
            given = [*self.given, *EDGE, *flags, "--out", str(results), "--resume"]
            with EdgeProcess(given, log, variables=self.variables) as edge:
                if troubles is not None:
                    troubles.edge = edge
                codes.append(edge.process.wait())
            if troubles is not None:
                troubles.look_for_tracebacks(log)
        if codes[-1] not in (0, 1):
            raise NeucodexError(f"an edge ended with exit code {codes[-1]}: {log.read_text().strip()}")
        lines = [json.loads(line) for line in results.read_text().splitlines()[1:]]
        results.unlink()
        return lines, codes


def measure(bundle: Path, dataset: str, data: Path | None, *, minutes: float, seed: int, samples: int) -> Findings:
    """Classify while everything breaks.

    Args:
        bundle: of clouds and edges.
        dataset: the pictures' data set.
        data: where it is; None if it is in the package.
        minutes: for how long new rounds begin; the last one ends without faults.
        seed: of the faults.
        samples: pictures of a round.
    """
    opened = Bundle.open(bundle)
    modes = ["wait"] if open_local_exit(opened) is None else ["wait", "fallback"]
    over = threading.Event()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neucodex-faults-")))
        pictures = write_pictures(opened, dataset, data, samples, scratch / "pictures")
        disk, clock = scratch / "disk", WallClock(scratch)
        no_disk = stack.enter_context(small_disk(disk))
        logs = [disk / f"cloud-{number}.log" for number in (1, 2)]
        clouds = [
            stack.enter_context(CloudProcess([bundle], scratch / log.stem, *CLOUD, log=log, variables=clock.variables))
            for log in logs
        ]
        links = [stack.enter_context(LinkProcess(cloud.wait_ready().listen)) for cloud in clouds]
        addresses = [word for link in links for word in ("--cloud", link.address)]
        edges = Edges(["--bundle", str(bundle), "--images", str(pictures), *addresses], disk, clock.variables)
        whole, _ = edges.run()
        troubles = Troubles(seed, over)
        faults = {
            f"cloud {number}": troubles.of_cloud(cloud, link, log)
            for number, (cloud, link, log) in enumerate(zip(clouds, links, logs, strict=True), 1)
        }
        faults["edge"] = troubles.of_edge()
        if no_disk is None:
            faults["disk"] = troubles.of_disk(disk)
        if clock.missing is None:
            faults["clock"] = troubles.of_clock(clock)
        with troubles.making(faults, minutes):
            rounds = list(_rounds(edges, modes, whole, troubles, over))
        for log in logs:
            troubles.look_for_tracebacks(log)
    left_out = {name: why for name, why in (("disk", no_disk), ("clock", clock.missing)) if why}
    return _findings(rounds, modes, faults, troubles, samples, seed, left_out)


def _rounds(
    edges: Edges, modes: Sequence[str], whole: Sequence[Line], troubles: Troubles, over: threading.Event
) -> Iterator[Round]:
    for mode in itertools.cycle(modes):
        lines, codes = edges.run(FLAGS[mode], troubles)
        found = compare(whole, lines)
        click.echo(f"--on-loss {mode}: {found}, {len(codes)} edges", err=True)
        yield Round(mode, found, codes)
        if over.is_set():
            return


def _findings(
    rounds: Sequence[Round],
    modes: Sequence[str],
    faults: Mapping[str, Mapping[str, Fault]],
    troubles: Troubles,
    samples: int,
    seed: int,
    left_out: Mapping[str, str],
) -> Findings:
    by_mode = {mode: [one for one in rounds if one.mode == mode] for mode in modes}
    sums = {
        mode: {key: sum(one.found[key] for one in held) for key in held[0].found} if held else {}
        for mode, held in by_mode.items()
    }
    counts = Counter((one.whom, one.what) for one in troubles.happened)
    codes = Counter(code for one in rounds for code in one.codes)
    wanted = len(rounds) * samples
    lost = wanted - sum(found.get("verdicts", 0) for found in sums.values())
    never = [f"{whom}: {what}" for whom, kinds in faults.items() for what in kinds if not counts[whom, what]]
    totals = {key: sum(found.get(key, 0) for found in sums.values()) for key in ("twice", "differ")}
    return Findings(
        n={"samples": wanted, "rounds": len(rounds), "faults": len(troubles.happened), "seed": seed},
        results={
            "rounds by --on-loss": {f"{mode}, {len(held)} rounds": sums[mode] for mode, held in by_mode.items()},
            "exit codes of edges": {str(code): count for code, count in sorted(codes.items())},
            "faults by kind": {f"{whom}: {what}": count for (whom, what), count in sorted(counts.items())},
            "faults that never came": never,
            "left out": dict(left_out),
            "faults": [str(one) for one in troubles.happened],
        },
        targets=[
            Goal("samples without a verdict", 0, lost, "samples", "lower"),
            Goal("samples with two verdicts", 0, totals["twice"], "samples", "lower"),
            Goal("cloud's answers that differ from the undisturbed run", 0, totals["differ"], "samples", "lower"),
            Goal("clouds that did not drain", 0, sum(code != 0 for code in troubles.drained), "clouds", "lower"),
            Goal("tracebacks in logs", 0, troubles.tracebacks, "tracebacks", "lower"),
        ],
    )
