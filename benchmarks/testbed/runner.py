"""The testbed's processes while they run: started, and measured link after link."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.links.profiles import LinkProfile
from benchmarks.processes import CloudProcess, ServerProcess
from benchmarks.testbed.attribution import attribute
from benchmarks.testbed.environments import Environment, Namespaces, OpenLink
from benchmarks.testbed.kept import Kept
from benchmarks.testbed.lanes import LANES, Slice, measure_in_lanes, slices
from benchmarks.testbed.options import TestbedOptions
from benchmarks.testbed.plain_network import FLOAT
from benchmarks.testbed.plan import PlannedRun, is_slow, plan
from benchmarks.testbed.processes import EdgeWorkerProcess, pin
from benchmarks.testbed.schema import (
    Columns,
    EdgeMeans,
    EdgeProfile,
    MeasuredCloud,
    MeasuredEdge,
    MeasuredLink,
    MeasuredNetwork,
    SampleRow,
    Testbed,
    TestbedRun,
)
from benchmarks.testbed.summary import figures
from shared.boards import boards
from shared.bundle import Bundle
from shared.errors import NeucodexError
from shared.operations import dense

LEAST = 5
"""Samples below which a median says nothing: such a run is passed over."""

ENERGY = "operations at 45 nm, modelled"
SERVICES = {"pair": "pair", "http": "http"}
"""Which of the cloud's services an alternative is served by; the picture server serves the others."""

ALONE_SHARE = 0.68
"""Of the time, for what one edge measures alone, where slow links are measured side by side after it."""

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
    kept: Kept
    _services: dict[str, str] = field(default_factory=dict)
    _links: dict[LinkProfile, MeasuredLink] = field(default_factory=dict)
    _edges: dict[str, MeasuredEdge] = field(default_factory=dict)
    _runs: list[TestbedRun] = field(default_factory=list)
    _columns: dict[str, Columns] = field(default_factory=dict)
    _passed_over: list[str] = field(default_factory=list)
    _measuring_link: threading.Lock = field(default_factory=threading.Lock)

    @property
    def _edge_python(self) -> str:
        return sys.executable if self.options.edge_host is None else self.options.edge_python

    def run(self) -> Testbed:
        """Measure everything that the options ask for."""
        options = self.options
        cores = sorted(os.sched_getaffinity(0))
        planned = plan(
            options.alternatives,
            options.links,
            [profile.name for profile in options.edges],
            main=(options.main_link, options.main_edge),
            n=options.n,
            n_others=options.n_others,
        )
        with contextlib.ExitStack() as stack:
            self.console.print("starting the cloud, the picture servers and the edge")
            whole_cloud_s = self._start_cloud(stack, cores[0])
            edge = stack.enter_context(self._edge(self.environment, max(options.n, options.n_others)))
            edge.wait_ready()
            if self.environment.slows_edge:
                pin(edge.process.pid, cores[-1])
            self._edges = {profile.name: self._measure_edge(edge, profile) for profile in options.edges}
            in_lanes = [run for run in planned if self._in_lanes(run)]
            share = ALONE_SHARE if in_lanes else 1.0
            self._measure_alone(edge, [run for run in planned if not self._in_lanes(run)], share)
            self._measure_side_by_side(in_lanes)
        order = {run.key: at for at, run in enumerate(planned)}
        self._runs.sort(key=lambda run: order[run.key])
        return self._testbed(whole_cloud_s)

    def _in_lanes(self, run: PlannedRun) -> bool:
        main = (run.link.name, run.edge) == (self.options.main_link, self.options.main_edge)
        return self.environment.lanes and is_slow(run.link) and not main

    def _measure_alone(self, edge: EdgeWorkerProcess, planned: Sequence[PlannedRun], share: float) -> None:
        """Each run may take its part of the time that is left; what it spares goes to those after it."""
        end = time.monotonic() + self.options.minutes * 60 * share
        with contextlib.ExitStack() as opened:
            at = None
            for number, run in enumerate(track(planned, "testbed", console=self.console)):
                if run.link != at:
                    opened.close()
                    at, link = run.link, opened.enter_context(self.environment.link(run.link, self._services))
                    self._link(at, link, self.environment)
                part = run.weight / sum(later.weight for later in planned[number:])
                seconds = max(0.0, end - time.monotonic()) * part
                try:
                    rows = self.kept.value(run.key, partial(self._rows, edge, run, link, seconds))
                except NeucodexError as error:
                    self._pass_over(f"{run.key}: {error}")
                    continue
                self._add(run, rows)

    def _measure_side_by_side(self, planned: Sequence[PlannedRun]) -> None:
        """Over slow links several edges at once, see `benchmarks.testbed.lanes`."""
        if not planned:
            return
        environment = self.environment
        assert isinstance(environment, Namespaces)
        seconds = self.options.minutes * 60 * (1 - ALONE_SHARE)
        began: list[float] = []  # when the first edge was ready

        @contextlib.contextmanager
        def lane(number: int) -> Iterator[tuple[Environment, EdgeWorkerProcess]]:
            with environment.lane(number) as place, self._edge(place, self.options.n_others) as edge:
                edge.wait_ready()
                began.append(time.monotonic())
                yield place, edge

        def measure(place: Environment, edge: EdgeWorkerProcess, part: Slice) -> list[SampleRow]:
            def rows() -> list[SampleRow]:
                left = began[0] + seconds - time.monotonic()
                if left <= 0:
                    raise NeucodexError("no time for it")
                with place.link(part.run.link, self._services) as opened:
                    self._link(part.run.link, opened, place)
                    return self._rows(edge, part.run, opened, left, first=part.first, n=part.n, warm_up=1)

            found: list[SampleRow] = self.kept.value(part.key, rows)
            return found

        todo = slices(planned)
        self.console.print(f"measuring {len(planned)} runs over slow links, {min(LANES, len(todo))} at once")
        found = measure_in_lanes(todo, lane, measure)
        for why in found.failed:
            self._pass_over(why)
        for run in planned:
            parts = [found.rows[each.key] for each in todo if each.run == run and each.key in found.rows]
            self._add(run, [row for rows in parts for row in rows])

    def _start_cloud(self, stack: contextlib.ExitStack, core: int) -> float:
        """Seconds of a timestep of the whole network there."""
        listen, prefix, plain = self.environment.listen, self.environment.cloud_prefix, self.options.uncompressed
        flags = ("--listen", listen, "--insecure-anywhere", "--threads", 1, "--max-batch", 1, "--log-level", "warning")
        pair = CloudProcess(
            [self.options.bundle, plain], self.folder, *flags, "--sample-idle-timeout", 600, prefix=prefix
        )
        pictures, probe = self.folder / "pictures.json", self.folder / "probe.json"
        command = ["benchmarks.testbed.picture_server", "--bundle", str(plain), "--listen", listen]
        rival, graph = self.folder / "rival.json", str(self.kept.folder / FLOAT)
        if self.bundles["bottleneck"].execution == "rate":
            command += ["--plain", graph]  # the uncompressed network reads pictures as the pair does: in one pass
        by_http = ["benchmarks.testbed.rival_server", "--graph", graph, "--listen", listen]
        servers = {
            "http": ServerProcess([*by_http, "--ready-file", str(rival)], rival, prefix=prefix),
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

    def _edge(self, environment: Environment, limit: int) -> EdgeWorkerProcess:
        options = self.options
        flags = ["--bundle", str(options.bundle), "--uncompressed", str(options.uncompressed)]
        flags += ["--dataset", options.dataset, "--limit", str(limit)]
        flags += ["--data", str(options.data)] if options.data else []
        flags += ["--plain", str(self.kept.folder)]
        return EdgeWorkerProcess(environment.edge_prefix, self._edge_python, flags)

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
            round(speed["head_start_ms"], 4),
        )

    def _share(self, profile: EdgeProfile) -> float:
        """Another machine is as fast as it is."""
        return profile.share if self.environment.slows_edge else 1.0

    def _gmacs(self, step_s: float) -> float:
        """Dense operations of the uncompressed network a second, 1e9; a picture's first layer is done once."""
        spec = self.bundles["uncompressed"].manifest.network
        first = dense(spec, real_valued=True) / spec.timesteps
        return (first + dense(spec)) / step_s / 1e9

    def _link(
        self, link: LinkProfile, opened: OpenLink | None = None, place: Environment | None = None
    ) -> MeasuredLink:
        """What was measured of a link, now if it was not yet."""
        if link not in self._links:
            with self._measuring_link:
                kept = self.kept.value(f"link {link.name}", lambda: self._measure_link(link, opened, place))
            self._links[link] = MeasuredLink(link, **kept)
        return self._links[link]

    def _measure_link(self, link: LinkProfile, opened: OpenLink | None, place: Environment | None) -> dict[str, Any]:
        assert opened is not None
        assert place is not None
        seconds, trips = (0.3, 10) if self.options.quick or is_slow(link) else (2.0, 20)
        probe = [*place.edge_prefix, self._edge_python, "-m", "benchmarks.links.probe", "measure"]
        command = [*probe, opened.addresses["probe"], str(seconds), str(trips)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603  our own module
        found: dict[str, Any] = {"means": opened.means, "counts_headers": bool(opened.interface)}
        if done.returncode == 0:
            return {**found, **{name: round(value, 4) for name, value in json.loads(done.stdout).items()}}
        self.console.print(f"link {link.name} could not be measured: {done.stderr.strip().splitlines()[-1:]}")
        return found

    def _rows(
        self, edge: EdgeWorkerProcess, run: PlannedRun, opened: OpenLink, seconds: float, **more: int
    ) -> list[SampleRow]:
        """What an edge says of a run's samples; `more`: see `benchmarks.testbed.edge_worker`."""
        service = SERVICES.get(run.alternative.kind, "pictures")
        job = {
            "alternative": vars(run.alternative),
            "cloud": opened.addresses[service],
            "n": run.n,
            "seconds": seconds,
            "interface": opened.interface,
            "share": self._share(self._edges[run.edge].asked),
        }
        return edge.do({**job, **more})

    def _add(self, run: PlannedRun, rows: list[SampleRow]) -> None:
        if len(rows) < min(LEAST, run.n):
            self._pass_over(f"{run.key}: {len(rows)} samples, no time for more")
            return
        alternative, board = run.alternative, boards()[self.options.board]
        columns = attribute(rows, alternative, self._link(run.link), self.networks[alternative.network], board)
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
            board=options.board,
            columns=self._columns,
        )
