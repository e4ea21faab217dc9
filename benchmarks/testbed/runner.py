"""The testbed's processes while they run: started, planned for, measured link after link."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.links.profiles import LinkProfile
from benchmarks.processes import CloudProcess, ServerProcess
from benchmarks.testbed.attribution import attribute
from benchmarks.testbed.command import TestbedOptions
from benchmarks.testbed.environments import Environment, OpenLink
from benchmarks.testbed.plan import Planned, Speeds, plan
from benchmarks.testbed.processes import EdgeWorkerProcess, pin
from benchmarks.testbed.schema import (
    Columns,
    EdgeProfile,
    MeasuredCloud,
    MeasuredEdge,
    MeasuredLink,
    MeasuredNetwork,
    Testbed,
    TestbedRun,
)
from benchmarks.testbed.summary import figures
from shared.bundle import Bundle
from shared.errors import NeucodexError
from shared.operations import dense

SPARE = 3.0
"""Times its estimate that a run may take before it is ended with the samples it has."""

LEAST_S = 5.0
LONGEST_LEAST_S = 30.0
"""Within which even the quickest sample may be answered before its run is given up: a broken link is no figure."""

TRIES = 2
"""How often a run that fails is tried again; the log says so."""

ENERGY = "modelled"


@dataclass
class _Found:
    """What was measured so far."""

    links: dict[str, MeasuredLink] = field(default_factory=dict)
    runs: list[TestbedRun] = field(default_factory=list)
    columns: dict[str, Columns] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)


class TestbedRunner:
    """The processes, while they run."""

    def __init__(
        self,
        options: TestbedOptions,
        bundles: Mapping[str, Bundle],
        networks: Mapping[str, MeasuredNetwork],
        environment: Environment,
        folder: Path,
        console: Console,
    ) -> None:
        self._options = options
        self._bundles = bundles
        self._networks = networks
        self._environment = environment
        self._folder = folder
        self._console = console
        self._found = _Found()
        cores = sorted(os.sched_getaffinity(0))
        self._cloud_core, self._edge_core = cores[0], cores[-1]
        self._services: dict[str, str] = {}

    def run(self, links: Sequence[LinkProfile], edges: Sequence[EdgeProfile]) -> Testbed:
        """All of it."""
        with contextlib.ExitStack() as stack:
            self._console.print("starting the cloud, the picture server and the edge")
            whole_cloud_s = self._start_cloud(stack)
            edge = stack.enter_context(self._edge())
            edge.wait_ready()
            if self._environment.slows_edge:
                pin(edge.process.pid, self._edge_core)
            measured = {profile.name: self._measure_edge(edge, profile) for profile in edges}
            planned = self._plan(links, measured, whole_cloud_s)
            self._show(planned)
            with _progress(self._console) as progress:
                bar = progress.add_task("testbed", total=sum(run.n for run in planned))
                for link in dict.fromkeys(run.link for run in planned):
                    of_link = [run for run in planned if run.link == link]
                    with self._environment.link(link, self._services) as opened:
                        probed = self._measure_link(link, opened)
                        self._found.links[link.name] = probed
                        for each in of_link:
                            progress.update(bar, description=f"{link.name}: {each.alternative.title}")
                            share = self._share(measured[each.edge].asked)
                            self._measure(edge, each, share, opened, probed, lambda: progress.advance(bar))
        return self._testbed(measured, whole_cloud_s)

    def _start_cloud(self, stack: contextlib.ExitStack) -> float:
        """Seconds of a timestep of the whole network there."""
        listen, prefix, plain = self._environment.listen, self._environment.cloud_prefix, self._options.uncompressed
        flags = ("--listen", listen, "--insecure-anywhere", "--threads", 1, "--max-batch", 1, "--log-level", "warning")
        pair = CloudProcess(
            [self._options.bundle, plain], self._folder, *flags, "--sample-idle-timeout", 600, prefix=prefix
        )
        pictures, probe = self._folder / "pictures.json", self._folder / "probe.json"
        command = ["benchmarks.testbed.picture_server", "--bundle", str(plain), "--listen", listen]
        servers = {
            "pair": pair,
            "pictures": ServerProcess([*command, "--ready-file", str(pictures)], pictures, prefix=prefix),
            "probe": ServerProcess(["benchmarks.links.probe", "serve", listen, str(probe)], probe, prefix=prefix),
        }
        for server in servers.values():
            stack.enter_context(server)
        for name, server in servers.items():
            self._services[name] = server.wait_ready().listen
            if name != "probe":
                pin(server.process.pid, self._cloud_core)
        step_ms: float = servers["pictures"].ready["step_ms"]
        return step_ms / 1000

    def _edge(self) -> EdgeWorkerProcess:
        options = self._options
        flags = ["--bundle", str(options.bundle), "--uncompressed", str(options.uncompressed)]
        flags += ["--dataset", options.dataset, "--limit", str(max(options.n, options.n_others))]
        flags += ["--data", str(options.data)] if options.data else []
        python = sys.executable if options.edge_host is None else options.edge_python
        return EdgeWorkerProcess(self._environment.edge_prefix, python, flags)

    def _share(self, profile: EdgeProfile) -> float:
        """Another machine is as fast as it is."""
        return profile.share if self._environment.slows_edge else 1.0

    def _measure_edge(self, edge: EdgeWorkerProcess, profile: EdgeProfile) -> MeasuredEdge:
        share = self._share(profile)
        speed = edge.measure(3 if self._options.quick else 9, share)
        return MeasuredEdge(
            profile,
            "another machine" if not self._environment.slows_edge else "as it is" if share == 1.0 else "paced",
            round(speed["head_ms"], 4),
            round(speed["whole_ms"], 4),
            round(self._gmacs(speed["whole_ms"] / 1000), 3),
            f"head: {speed['runtime']}; the whole network: that and torch",
        )

    def _gmacs(self, step_s: float) -> float:
        """Dense operations of the uncompressed network a second, 1e9; a picture's first layer is done once."""
        spec = self._bundles["uncompressed"].manifest.network
        first = dense(spec, real_valued=True) / spec.timesteps
        return (first + dense(spec)) / step_s / 1e9

    def _plan(
        self, links: Sequence[LinkProfile], edges: Mapping[str, MeasuredEdge], whole_cloud_s: float
    ) -> list[Planned]:
        options = self._options
        plain = self._bundles["uncompressed"].manifest
        speeds = {
            name: Speeds(
                edge.head_ms / 1000,
                edge.whole_ms / 1000,
                whole_cloud_s,
                whole_cloud_s,
                4.0 * float(np.prod(plain.split_shape)),
                plain.network.timesteps,
            )
            for name, edge in edges.items()
        }
        return plan(
            options.alternatives,
            links,
            list(edges),
            speeds,
            main=(options.main_link, options.main_edge),
            n=options.n,
            n_others=options.n_others,
            seconds=options.minutes * 60,
        )

    def _show(self, planned: Sequence[Planned]) -> None:
        total = sum(run.seconds for run in planned if run.n)
        self._console.print(f"{len(planned)} runs, about {total / 60:.1f} minutes:")
        for run in planned:
            cut = "" if run.n == run.asked else f" of {run.asked}: no time for more"
            self._console.print(
                f"  {run.link.name:10} {run.edge:5} {run.alternative.name:18} n {run.n:5}{cut}  {run.seconds:6.1f} s"
            )

    def _measure_link(self, link: LinkProfile, opened: OpenLink) -> MeasuredLink:
        seconds, trips = (0.3, 10) if self._options.quick else (2.0, 20)
        python = sys.executable if self._options.edge_host is None else self._options.edge_python
        command = [*self._environment.edge_prefix, python, "-m", "benchmarks.links.probe", "measure"]
        done = subprocess.run(  # noqa: S603  our own module
            [*command, opened.addresses["probe"], str(seconds), str(trips)],
            check=False,
            capture_output=True,
            text=True,
        )
        measured: dict[str, float] = {}
        if done.returncode == 0:
            measured = {name: round(value, 4) for name, value in json.loads(done.stdout).items()}
        else:
            self._console.print(f"link {link.name} could not be measured: {done.stderr.strip().splitlines()[-1:]}")
        return MeasuredLink(
            link, opened.means, opened.means in ("cable", "netem", "tun") or bool(opened.interface), **measured
        )

    def _measure(
        self, edge: EdgeWorkerProcess, run: Planned, share: float, opened: OpenLink, link: MeasuredLink, advance: Any
    ) -> None:
        found, alternative = self._found, run.alternative
        where = f"{alternative.name} over {run.link.name} from {run.edge}"
        if not run.n:
            found.passed_over.append(f"{where}: about {run.each_s:.1f} s a sample, no time for it")
            return
        seconds = max(run.seconds * SPARE, LEAST_S)
        kind = "pair" if alternative.kind == "pair" else "pictures"
        job = {
            "alternative": vars(alternative),
            "cloud": opened.addresses[kind],
            "n": run.n,
            "seconds": seconds,
            "sample_seconds": max(10 * SPARE * run.each_s, LONGEST_LEAST_S),
            "interface": opened.interface,
            "share": share,
            "warm_up": 1 if run.each_s > 1.0 else 3,
        }
        counts: list[tuple[int, int] | None] = []
        for attempt in range(1, TRIES + 1):
            counts.clear()
            try:
                _, rows = edge.do(job, lambda: counts.append(opened.counted()), lambda _: advance())
                break
            except NeucodexError as error:
                self._console.print(f"{where}: {error}")
                if attempt == TRIES:
                    found.passed_over.append(f"{where}: {error}")
                    return
        before, after = counts[0], opened.counted()
        counted = None if before is None or after is None else (after[0] - before[0], after[1] - before[1])
        columns = attribute(rows, alternative, link, self._networks[alternative.network], counted)
        accuracy, by_column = figures(columns)
        spent = float(columns.latency_ms.sum()) / 1000
        made = TestbedRun(
            alternative.name, run.link.name, run.edge, len(columns), run.asked, round(spent, 1), accuracy, by_column
        )
        found.runs.append(made)
        found.columns[made.key] = columns

    def _testbed(self, edges: Mapping[str, MeasuredEdge], whole_cloud_s: float) -> Testbed:
        options, found = self._options, self._found
        tails = [
            float(np.median(columns.tail_ms / columns.timesteps))
            for run in found.runs
            if run.alternative in ("full", "bottleneck-exit", "bottleneck-full-t")
            for columns in (found.columns[run.key],)
        ]
        bottleneck = self._bundles["bottleneck"]
        manifest = bottleneck.manifest
        return Testbed(
            dataset=options.dataset,
            class_names=manifest.class_names,
            main=(options.main_link, options.main_edge),
            threshold=bottleneck.settings.exit_policy.threshold,
            alternatives=options.alternatives,
            links=tuple(found.links.values()),
            edges=tuple(edges.values()),
            cloud=MeasuredCloud(
                round(min(tails, default=whole_cloud_s * 1000), 4),
                round(whole_cloud_s * 1000, 4),
                round(self._gmacs(whole_cloud_s), 3),
                1,
                "fp32",
            ),
            networks=self._networks,
            energy=ENERGY,
            runs=tuple(found.runs),
            passed_over=tuple(found.passed_over),
            columns=found.columns,
        )


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
