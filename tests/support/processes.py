"""Real processes on loopback for tests: started, waited for by condition and deadline, and always ended."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks import processes

DEADLINE = 60.0
"""Seconds for anything that must happen; generous, for shared machines. Nothing waits that long when all is well."""

POLL = 0.01


def wait_for(condition: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    """Look until `condition` holds.

    Raises:
        AssertionError: it does not within `deadline` seconds; the message says `what` was waited for.
    """
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"not within {deadline:g} s: {what}"
        time.sleep(POLL)


async def until(condition: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    """As `wait_for`, in a thread: the event loop runs on."""
    await asyncio.to_thread(wait_for, condition, what, deadline)


class CloudProcess(processes.CloudProcess):
    """A `python -m cloud_server` whose log is a file; it is killed at the end if it still runs."""

    def __init__(self, folder: Path, bundles: Sequence[Path], *flags: str, module: str = "cloud_server") -> None:
        self.log = folder / "cloud.log"
        folder.mkdir(parents=True, exist_ok=True)
        # First: a test may give another number of threads.
        flags = ("--threads", "1", *flags)
        super().__init__(bundles, folder, *flags, module=module, log=self.log, variables={"OMP_NUM_THREADS": "1"})

    @property
    def probed(self) -> str | None:
        """The host:port of health checks in clear, with `--health`."""
        return self.ready.get("health")

    def metric(self, name: str, **labels: str) -> float:
        """The value of a sample of its metrics page, summed over the labels not named."""
        found = [value for named, its, value in self.samples() if named == name and labels.items() <= its.items()]
        assert found, f"no sample {name} {labels}"
        return sum(found)

    def next_count(self) -> None:
        """Wait until the cloud has counted its tasks once more."""
        name = "neucodex_cloud_loop_lag_seconds_count"
        beats = self.metric(name)
        wait_for(lambda: self.metric(name) > beats, "the next count")

    async def health(self) -> str:
        """The name of its status in grpc.health.v1."""
        async with grpc.aio.insecure_channel(self.listen) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE)
        name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        return name

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(DEADLINE)

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)


@contextmanager
def cloud_process(
    folder: Path, bundles: Sequence[Path], *flags: str, module: str = "cloud_server"
) -> Iterator[CloudProcess]:
    """A cloud that serves `bundles` on free ports of loopback, ready; killed at the end if it still runs.

    Its log and ready file are written into `folder`. `module` is what is run: a cloud, or one with a fault built in.
    """
    with CloudProcess(folder, bundles, *flags, module=module) as cloud:
        cloud.wait_ready(DEADLINE)
        yield cloud


@contextmanager
def starting_cloud(
    folder: Path, bundles: Sequence[Path], *flags: str, module: str = "cloud_server"
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """As `cloud_process`, just started: the process and its log."""
    with CloudProcess(folder, bundles, *flags, module=module) as cloud:
        yield cloud.process, cloud.log
