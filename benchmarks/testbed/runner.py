"""The testbed's processes while they run: started, and measured link after link."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.links.profiles import LinkProfile
from benchmarks.processes import CloudProcess, ServerProcess
from benchmarks.testbed.attribution import attribute
from benchmarks.testbed.environments import Environment, OpenLink
from benchmarks.testbed.options import TestbedOptions
from benchmarks.testbed.plan import PlannedRun, plan
from benchmarks.testbed.processes import EdgeWorkerProcess, pin
from benchmarks.testbed.schema import (
    Columns,
    EdgeMeans,
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

LEAST = 5
"""Samples below which a median says nothing: such a run is passed over."""

ENERGY = "modelled"
BOTTLENECK = ("full", "bottleneck-exit", "bottleneck-full-t")
"""Alternatives whose tail is the one that advice reckons with."""


@dataclass
class TestbedRunner:
    """The processes, while they run."""

    __test__: ClassVar = False  # pytest would take its name for a test's

    options: TestbedOptions
    bundles: Mapping[str, Bundle]
    networks: Mapping[str, MeasuredNetwork]
    environment: Environment
    folder: Path
    console: Console
    _services: dict[str, str] = field(default_factory=dict)
    _links: dict[LinkProfile, MeasuredLink] = field(default_factory=dict)
    _edges: dict[str, MeasuredEdge] = field(default_factory=dict)
    _runs: list[TestbedRun] = field(default_factory=list)
    _columns: dict[str, Columns] = field(default_factory=dict)
    _passed_over: list[str] = field(default_factory=list)

    @property
    def _edge_python(self) -> str:
        return sys.executable if self.options.edge_host is None else self.options.edge_python

    def run(self) -> Testbed:
        """Measure everything that the options ask for."""
        options = self.options
        cores = sorted(os.sched_getaffinity(0))
        with contextlib.ExitStack() as stack:
            self.console.print("starting the cloud, the picture server and the edge")
            whole_cloud_s = self._start_cloud(stack, cores[0])
            edge = stack.enter_context(self._edge())
            edge.wait_ready()
            if self.environment.slows_edge:
                pin(edge.process.pid, cores[-1])
            self._edges = {profile.name: self._measure_edge(edge, profile) for profile in options.edges}
            self._measure_all(edge, stack)
        return self._testbed(whole_cloud_s)

    def _measure_all(self, edge: EdgeWorkerProcess, stack: contextlib.ExitStack) -> None:
        """Each run may take its part of the time that is left; what it spares goes to those after it."""
        options = self.options
        planned = plan(
            options.alternatives,
            options.links,
            [profile.name for profile in options.edges],
            main=(options.main_link, options.main_edge),
            n=options.n,
            n_others=options.n_others,
        )
        end = time.monotonic() + options.minutes * 60
        at, opened = None, stack.enter_context(contextlib.ExitStack())
        for number, run in enumerate(track(planned, "testbed", console=self.console)):
            if run.link != at:
                opened.close()
                at, link = run.link, opened.enter_context(self.environment.link(run.link, self._services))
                self._links[at] = self._measure_link(at, link)
            part = run.weight / sum(later.weight for later in planned[number:])
            self._measure(edge, run, link, max(0.0, end - time.monotonic()) * part)
        opened.close()

    def _start_cloud(self, stack: contextlib.ExitStack, core: int) -> float:
        """Seconds of a timestep of the whole network there."""
        listen, prefix, plain = self.environment.listen, self.environment.cloud_prefix, self.options.uncompressed
        flags = ("--listen", listen, "--insecure-anywhere", "--threads", 1, "--max-batch", 1, "--log-level", "warning")
        pair = CloudProcess(
            [self.options.bundle, plain], self.folder, *flags, "--sample-idle-timeout", 600, prefix=prefix
        )
        pictures, probe = self.folder / "pictures.json", self.folder / "probe.json"
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
                pin(server.process.pid, core)
        step_ms: float = servers["pictures"].ready["step_ms"]
        return step_ms / 1000

    def _edge(self) -> EdgeWorkerProcess:
        options = self.options
        flags = ["--bundle", str(options.bundle), "--uncompressed", str(options.uncompressed)]
        flags += ["--dataset", options.dataset, "--limit", str(max(options.n, options.n_others))]
        flags += ["--data", str(options.data)] if options.data else []
        return EdgeWorkerProcess(self.environment.edge_prefix, self._edge_python, flags)

    def _measure_edge(self, edge: EdgeWorkerProcess, profile: EdgeProfile) -> MeasuredEdge:
        speed = edge.measure(3 if self.options.quick else 9, self._share(profile))
        means: EdgeMeans = (
            "another machine" if not self.environment.slows_edge else "as it is" if profile.share == 1 else "paced"
        )
        return MeasuredEdge(
            profile,
            means,
            round(speed["head_ms"], 4),
            round(speed["whole_ms"], 4),
            round(self._gmacs(speed["whole_ms"] / 1000), 3),
            f"head: {speed['runtime']}; the whole network: that and torch",
        )

    def _share(self, profile: EdgeProfile) -> float:
        """Another machine is as fast as it is."""
        return profile.share if self.environment.slows_edge else 1.0

    def _gmacs(self, step_s: float) -> float:
        """Dense operations of the uncompressed network a second, 1e9; a picture's first layer is done once."""
        spec = self.bundles["uncompressed"].manifest.network
        first = dense(spec, real_valued=True) / spec.timesteps
        return (first + dense(spec)) / step_s / 1e9

    def _measure_link(self, link: LinkProfile, opened: OpenLink) -> MeasuredLink:
        seconds, trips = (0.3, 10) if self.options.quick else (2.0, 20)
        probe = [*self.environment.edge_prefix, self._edge_python, "-m", "benchmarks.links.probe", "measure"]
        command = [*probe, opened.addresses["probe"], str(seconds), str(trips)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603  our own module
        measured: dict[str, float] = {}
        if done.returncode == 0:
            measured = {name: round(value, 4) for name, value in json.loads(done.stdout).items()}
        else:
            self.console.print(f"link {link.name} could not be measured: {done.stderr.strip().splitlines()[-1:]}")
        return MeasuredLink(link, opened.means, bool(opened.interface), **measured)

    def _measure(self, edge: EdgeWorkerProcess, run: PlannedRun, opened: OpenLink, seconds: float) -> None:
        alternative = run.alternative
        where = f"{alternative.name} over {run.link.name} from {run.edge}"
        job = {
            "alternative": vars(alternative),
            "cloud": opened.addresses["pair" if alternative.kind == "pair" else "pictures"],
            "n": run.n,
            "seconds": seconds,
            "interface": opened.interface,
            "share": self._share(self._edges[run.edge].asked),
        }
        try:
            rows = edge.do(job)
        except NeucodexError as error:
            self._pass_over(f"{where}: {error}")
            return
        if len(rows) < min(LEAST, run.n):
            self._pass_over(f"{where}: {len(rows)} samples in {seconds:.0f} s, no time for more")
            return
        columns = attribute(rows, alternative, self._links[run.link], self.networks[alternative.network])
        accuracy, found = figures(columns)
        spent = round(float(columns.latency_ms.sum()) / 1000, 1)
        made = TestbedRun(alternative.name, run.link.name, run.edge, len(columns), run.n, spent, accuracy, found)
        self._runs.append(made)
        self._columns[made.key] = columns

    def _pass_over(self, why: str) -> None:
        self.console.print(why)
        self._passed_over.append(why)

    def _testbed(self, whole_cloud_s: float) -> Testbed:
        options = self.options
        tails = [
            float(np.median(columns.tail_ms / columns.timesteps))
            for run in self._runs
            if run.alternative in BOTTLENECK
            for columns in (self._columns[run.key],)
        ]
        whole_ms = whole_cloud_s * 1000
        gmacs = round(self._gmacs(whole_cloud_s), 3)
        return Testbed(
            dataset=options.dataset,
            class_names=self.bundles["bottleneck"].manifest.class_names,
            main=(options.main_link, options.main_edge),
            threshold=self.bundles["bottleneck"].settings.exit_policy.threshold,
            alternatives=options.alternatives,
            links=tuple(self._links.values()),
            edges=tuple(self._edges.values()),
            cloud=MeasuredCloud(round(min(tails, default=whole_ms), 4), round(whole_ms, 4), gmacs, 1, "fp32"),
            networks=self.networks,
            energy=ENERGY,
            runs=tuple(self._runs),
            passed_over=tuple(self._passed_over),
            columns=self._columns,
        )
