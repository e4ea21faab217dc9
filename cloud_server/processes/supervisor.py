"""Starts, watches, replaces and stops several engine processes that share a port, where one process is the limit.

The parent computes nothing and does not import torch. It reserves the ports, which the children share (SO_REUSEPORT),
serves one metrics page for all of them, and passes signals on. A child that dies is replaced; its streams end, and
their edges connect again.
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
from cloud_server.ready import announce_ready, remove_ready_file
from cloud_server.rpc.grpc_server import cannot_listen
from shared.logs import LogFormat
from shared.metrics_page import serve_page

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds until a child that died is replaced. Doubled each time, until a child has lived for `LONGEST_PAUSE`."""

STUCK_AFTER_S = 30.0
"""Seconds that children have to end, after the drain if they served, before they are killed."""

Announcement = Callable[[Sequence[str]], None]
"""Called once, with the bundles' names, when requests are served."""

_SPAWN = multiprocessing.get_context("spawn")  # gRPC's threads do not survive a fork


def supervise(config: CloudConfig, logs: tuple[LogFormat, str]) -> int:
    """Run `config.processes` children until SIGTERM or SIGINT, then let them drain.

    Args:
        config: of every child.
        logs: format and level of their logs.

    Returns:
        The exit code: 0, or that of a child that could not start.

    Raises:
        ConfigError: an address is taken, or there is no bundle.
        BundleError: a bundle cannot be read.
    """
    remove_ready_file(config.ready_file)
    config.security.check(config.listen)
    read_bundles(config)
    with ExitStack() as held:
        listen = held.enter_context(_reserved(config.listen, "--listen"))
        addresses = {"listen": listen}
        if config.health is not None:
            addresses["health"] = held.enter_context(_reserved(config.health, "--health"))
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="neucodex-metrics-"))
        # prometheus_client reads this when it is imported in a child, and then counts in files in this folder.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        children = replace(config, listen=listen, health=addresses.get("health"), ready_file=None)
        supervisor = Supervisor(children, logs, folder)
        registry = CollectorRegistry()
        registry.register(JointMetrics(Path(folder)))
        registry.register(ProcessMetrics(supervisor.pids))
        registry.register(config.security.expiry())
        addresses["metrics"] = (config.metrics[0], serve_page(registry, *config.metrics, config.metrics_security))
        try:
            return supervisor.run(lambda bundles: announce_ready(config.ready_file, addresses, bundles))
        finally:
            supervisor.kill()
            remove_ready_file(config.ready_file)


@dataclass(eq=False)
class _RunningChild:
    process: SpawnProcess
    pipe: Connection
    started: float
    warm: bool = False


class Supervisor:
    """The child processes.

    Args:
        config: of every child, with the ports that the parent reserved.
        logs: format and level of their logs.
        metrics_folder: where prometheus_client counts.
    """

    def __init__(self, config: CloudConfig, logs: tuple[LogFormat, str], metrics_folder: str) -> None:
        self._config = config
        self._logs = logs
        self._metrics_folder = metrics_folder
        self._children: list[_RunningChild | None] = [None] * config.processes
        """None for a child that died and is not replaced yet."""
        self._pauses = [FIRST_PAUSE] * config.processes
        self._start_at = [0.0] * config.processes
        """When a missing child is to be started, on the monotonic clock."""
        self._serving = False
        self._stopping = False
        self._deadline = math.inf
        """When the children that still run are killed, on the same clock."""
        self._code = 0

    def run(self, ready: Announcement) -> int:
        """Run until all children have ended after a signal, or one cannot start. Returns the exit code.

        Args:
            ready: called once, when all children are warm and serve.
        """
        with _signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            while True:
                self._start_missing()
                running = [child for child in self._children if child is not None]
                if self._stopping and not running:
                    return self._code
                pipes = [child.pipe for child in running if not child.warm]
                ends = [child.process.sentinel for child in running]
                happened = wait([signals, *pipes, *ends], self._wait_timeout())
                if signals in happened:
                    self._handle_signal(signals.recv())
                for child in running:
                    if child.pipe in happened:
                        self._handle_pipe(child, ready)
                    if child.process.sentinel in happened:
                        self._handle_end(child)
                if any(self._children) and time.monotonic() >= self._deadline:
                    log.error("processes that were told to stop are stuck: killed")
                    self.kill()

    def pids(self) -> dict[str, int]:
        """Process ids of the parent and of the children that run, by index. Any thread may call it."""
        children = {
            str(index): child.process.pid
            for index, child in enumerate(self._children)
            if child is not None and child.process.pid is not None
        }
        return {"parent": os.getpid(), **children}

    def kill(self) -> None:
        """Kill the children that still run."""
        for child in self._children:
            if child is not None:
                child.process.kill()
                child.process.join()

    def _start_missing(self) -> None:
        now = time.monotonic()
        for index, child in enumerate(self._children):
            if child is None and not self._stopping and now >= self._start_at[index]:
                ours, theirs = _SPAWN.Pipe()
                cores = share_of_cores(sorted(_cores()), index, len(self._children))
                settings = Child(self._config, cores, not self._serving, theirs, self._logs)
                process = _SPAWN.Process(
                    target=run_child, args=(settings,), name=f"neucodex-cloud-{index}", daemon=True
                )
                # The child inherits the mask: signals wait until its handlers are set.
                mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
                process.start()
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                theirs.close()  # so that each side sees when the other ends
                self._children[index] = _RunningChild(process, ours, now)

    def _wait_timeout(self) -> float | None:
        """Seconds until a child is to be started, or the rest is to be killed; None for no limit."""
        missing = [] if self._stopping else [index for index, child in enumerate(self._children) if child is None]
        due = min((self._start_at[index] for index in missing), default=self._deadline)
        return None if due == math.inf else max(0.0, due - time.monotonic())

    def _handle_signal(self, number: int) -> None:
        if number != signal.SIGHUP:
            self._stopping = True
            patience = STUCK_AFTER_S + (self._config.drain_timeout if self._serving else 0.0)
            self._deadline = min(self._deadline, time.monotonic() + patience)
            number = signal.SIGTERM
        for child in self._children:
            if child is not None and child.process.pid is not None and child.process.is_alive():
                os.kill(child.process.pid, number)

    def _handle_pipe(self, child: _RunningChild, ready: Announcement) -> None:
        try:
            bundles = child.pipe.recv()
        except (EOFError, OSError):
            child.warm = True  # it has ended, which is handled next: nothing more comes on this pipe
            return
        child.warm = True
        if self._serving:
            _send_go(child)
        elif all(each is not None and each.warm for each in self._children):
            self._serving = True
            for each in self._children:
                if each is not None:
                    _send_go(each)
            ready(bundles)

    def _handle_end(self, child: _RunningChild) -> None:
        index = self._children.index(child)
        self._children[index] = None
        child.process.join()
        child.pipe.close()
        code, pid = child.process.exitcode or 0, child.process.pid
        multiprocess.mark_process_dead(pid, self._metrics_folder)  # type: ignore[no-untyped-call]
        if self._stopping:
            return
        if not self._serving:
            log.error("a process ended with %d before all were ready: stopping", code)
            self._code = code if code > 0 else 1
            self._handle_signal(signal.SIGTERM)
            return
        if time.monotonic() - child.started > LONGEST_PAUSE:
            self._pauses[index] = FIRST_PAUSE
        pause = self._pauses[index]
        log.error("process %s ended with %d: another takes its place in %g s", pid, code, pause)
        self._start_at[index] = time.monotonic() + pause
        self._pauses[index] = min(2 * pause, LONGEST_PAUSE)


def share_of_cores(cores: Sequence[int], index: int, processes: int) -> list[int]:
    """The cores of one of several processes.

    Neighbouring cores go to one process. All cores are used, and none twice if there are enough.

    Args:
        cores: of all processes.
        index: of the process.
        processes: how many there are.
    """
    if processes >= len(cores):
        return [cores[index % len(cores)]]
    return list(cores[index * len(cores) // processes : (index + 1) * len(cores) // processes])


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(usable_cores()))


def _send_go(child: _RunningChild) -> None:
    try:
        child.pipe.send(GO)
    except OSError:
        log.debug("process %s is gone already", child.process.pid)


@contextmanager
def _reserved(listen: tuple[str, int], flag: str) -> Iterator[tuple[str, int]]:
    """Reserve a port, without listening on it. Yields the address with the port.

    Args:
        listen: (host, port); port 0 takes a free port.
        flag: of the command line, for the error.

    Raises:
        ConfigError: the address is taken, or is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
    with socket.socket(family) as alone, socket.socket(family) as held:
        try:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections may still be closing
            alone.bind(listen)  # fails if the port is taken, even by a process that would share it
            found = alone.getsockname()[1]
            alone.close()
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((listen[0], found))
        except OSError:
            raise cannot_listen(listen, flag) from None
        yield listen[0], found


@contextmanager
def _signals(*numbers: signal.Signals) -> Iterator[Connection]:
    """A connection that receives the numbers of these signals, also of those that came while they were blocked."""
    received, send = _SPAWN.Pipe(duplex=False)
    before = {number: signal.signal(number, lambda number, _: send.send(int(number))) for number in numbers}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        received.close()
        send.close()
