"""Several engine processes behind one port, where one Python process is the limit: started, watched, replaced, stopped.

The parent computes nothing and imports no torch. It holds the ports' numbers, so that the children can share them
(SO_REUSEPORT), serves one metrics page for all of them, and passes signals on. A child that dies takes its own streams
along, which their edges open anew, and is replaced.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from prometheus_client import CollectorRegistry, multiprocess

from cloud_server.catalogue import read_bundles
from cloud_server.config import CloudConfig
from cloud_server.engine.threads import usable_cores
from cloud_server.processes.child import GO, Child, run_child
from cloud_server.processes.metrics import JointMetrics, ProcessMetrics
from cloud_server.ready import announce, withdraw
from cloud_server.rpc.grpc_server import cannot_listen
from shared.command_line import LogFormat
from shared.metrics import export

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a child that died is replaced; doubled each time, until one has lived for `LONGEST_PAUSE`."""

STUCK_AFTER = 30.0
"""Seconds that children have for their end, beyond the drain where they served, before they are killed."""

Announcement = Callable[[Sequence[str]], None]
"""Called once with the bundles' names, when requests are served."""

_SPAWN = multiprocessing.get_context("spawn")  # a fork would take gRPC's threads along as they are not


def supervise(config: CloudConfig, logs: tuple[LogFormat, str]) -> int:
    """Run `config.processes` children until SIGTERM or SIGINT, then let them drain.

    Args:
        config: every child's.
        logs: their format and level.

    Returns:
        The exit code: 0, or that of a child that could not start.

    Raises:
        ConfigError: an address is taken, or there is no bundle.
        BundleError: a bundle cannot be read.
    """
    withdraw(config.ready_file)
    config.security.check(config.listen)
    read_bundles(config)
    with ExitStack() as held:
        listen = held.enter_context(_reserved(config.listen, "--listen"))
        addresses = {"listen": listen}
        if config.health is not None:
            addresses["health"] = held.enter_context(_reserved(config.health, "--health"))
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="neucodex-metrics-"))
        # The children's prometheus_client finds it as it is imported, and counts in files that are read together here.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        children = replace(config, listen=listen, health=addresses.get("health"), ready_file=None)
        supervisor = Supervisor(children, logs, folder)
        registry = CollectorRegistry()
        registry.register(JointMetrics(Path(folder)))
        registry.register(ProcessMetrics(supervisor.pids))
        addresses["metrics"] = (config.metrics[0], export(registry, *config.metrics))
        try:
            return supervisor.run(lambda bundles: announce(config.ready_file, addresses, bundles))
        finally:
            supervisor.kill()
            withdraw(config.ready_file)


@dataclass(eq=False)
class _Running:
    process: SpawnProcess
    line: Connection
    started: float
    warm: bool = False


class Supervisor:
    """The children, by their place among them; None while one that died is not yet replaced."""

    def __init__(self, config: CloudConfig, logs: tuple[LogFormat, str], metrics_folder: str) -> None:
        self._config = config
        self._logs = logs
        self._metrics_folder = metrics_folder
        self._children: list[_Running | None] = [None] * config.processes
        self._pauses = [FIRST_PAUSE] * config.processes
        self._due = [0.0] * config.processes
        """When the places that are empty are to be filled, on the monotonic clock."""
        self._serving = False
        self._stopping = False
        self._deadline = math.inf
        """When the children must have ended, on the same clock."""
        self._code = 0

    def run(self, ready: Announcement) -> int:
        """Until told to stop and all children have ended, or one cannot start; gives the exit code."""
        with _signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as told:
            while True:
                self._fill_places()
                running = [child for child in self._children if child is not None]
                if self._stopping and not running:
                    return self._code
                lines = [child.line for child in running if not child.warm]
                ends = [child.process.sentinel for child in running]
                happened = wait([told, *lines, *ends], self._patience())
                if told in happened:
                    self._signalled(told.recv())
                for child in running:
                    if child.line in happened:
                        self._warmed(child, ready)
                    if child.process.sentinel in happened:
                        self._ended(child)
                if any(self._children) and time.monotonic() >= self._deadline:
                    log.error("processes that were told to stop are stuck: killed")
                    self.kill()

    def pids(self) -> dict[str, int]:
        """Of the parent and of those children that run, by their places. May be called from any thread."""
        children = {
            str(place): child.process.pid
            for place, child in enumerate(self._children)
            if child is not None and child.process.pid is not None
        }
        return {"parent": os.getpid(), **children}

    def kill(self) -> None:
        """End what still runs, at once."""
        for child in self._children:
            if child is not None:
                child.process.kill()
                child.process.join()

    def _fill_places(self) -> None:
        now = time.monotonic()
        for place, child in enumerate(self._children):
            if child is None and not self._stopping and now >= self._due[place]:
                ours, theirs = _SPAWN.Pipe()
                cores = share_of_cores(sorted(_cores()), place, len(self._children))
                told = Child(self._config, cores, not self._serving, theirs, self._logs)
                process = _SPAWN.Process(target=run_child, args=(told,), name=f"neucodex-cloud-{place}", daemon=True)
                # It inherits what is held back: these wait until it listens.
                held_back = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
                process.start()
                signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
                theirs.close()  # so that the child's end is seen as the line's, and ours as theirs
                self._children[place] = _Running(process, ours, now)

    def _patience(self) -> float | None:
        """Seconds until a place is to be filled, or what is left is to be killed."""
        empty = [] if self._stopping else [place for place, child in enumerate(self._children) if child is None]
        due = min((self._due[place] for place in empty), default=self._deadline)
        return None if due == math.inf else max(0.0, due - time.monotonic())

    def _signalled(self, number: int) -> None:
        if number != signal.SIGHUP:
            self._stopping = True
            patience = STUCK_AFTER + (self._config.drain_timeout if self._serving else 0.0)
            self._deadline = min(self._deadline, time.monotonic() + patience)
            number = signal.SIGTERM
        for child in self._children:
            if child is not None and child.process.pid is not None and child.process.is_alive():
                os.kill(child.process.pid, number)

    def _warmed(self, child: _Running, ready: Announcement) -> None:
        try:
            bundles = child.line.recv()
        except (EOFError, OSError):
            child.warm = True  # it is not, and its end is seen next: nothing more comes on this line
            return
        child.warm = True
        if self._serving:
            _say_go(child)
        elif all(each is not None and each.warm for each in self._children):
            self._serving = True
            for each in self._children:
                if each is not None:
                    _say_go(each)
            ready(bundles)

    def _ended(self, child: _Running) -> None:
        place = self._children.index(child)
        self._children[place] = None
        child.process.join()
        child.line.close()
        code, pid = child.process.exitcode or 0, child.process.pid
        multiprocess.mark_process_dead(pid, self._metrics_folder)  # type: ignore[no-untyped-call]
        if self._stopping:
            return
        if not self._serving:
            log.error("a process ended with %d before all were ready: stopping", code)
            self._code = code if code > 0 else 1
            self._signalled(signal.SIGTERM)
            return
        if time.monotonic() - child.started > LONGEST_PAUSE:
            self._pauses[place] = FIRST_PAUSE
        pause = self._pauses[place]
        log.error("process %s ended with %d: another takes its place in %g s", pid, code, pause)
        self._due[place] = time.monotonic() + pause
        self._pauses[place] = min(2 * pause, LONGEST_PAUSE)


def share_of_cores(cores: Sequence[int], place: int, places: int) -> list[int]:
    """The cores of one of several processes: neighbours, all of them given out, none twice if there are enough."""
    if places >= len(cores):
        return [cores[place % len(cores)]]
    return list(cores[place * len(cores) // places : (place + 1) * len(cores) // places])


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(usable_cores()))


def _say_go(child: _Running) -> None:
    try:
        child.line.send(GO)
    except OSError:
        log.debug("process %s is gone already", child.process.pid)


@contextmanager
def _reserved(listen: tuple[str, int], flag: str) -> Iterator[tuple[str, int]]:
    """Hold the port's number, a free one for 0, without listening; `flag` is what named it.

    Raises:
        ConfigError: it is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
    with socket.socket(family) as alone, socket.socket(family) as held:
        try:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections may still be closing
            alone.bind(listen)  # nobody else has it, not even one who would share
            found = alone.getsockname()[1]
            alone.close()
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((listen[0], found))
        except OSError:
            raise cannot_listen(listen, flag) from None
        yield listen[0], found


@contextmanager
def _signals(*numbers: signal.Signals) -> Iterator[Connection]:
    """A connection on which the numbers of these signals come; also of one that was held back until now."""
    heard, tell = _SPAWN.Pipe(duplex=False)
    before = {number: signal.signal(number, lambda caught, _: tell.send(int(caught))) for number in numbers}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        heard.close()
        tell.close()
