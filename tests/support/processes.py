"""Real processes on loopback for tests: started, waited for by condition and deadline, and always ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

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


@dataclass(frozen=True)
class CloudProcess:
    """A running `python -m cloud_server`."""

    process: subprocess.Popen[bytes]
    listen: str
    """host:port of gRPC"""
    metrics_address: str
    log: Path
    """Its standard error."""
    probed: str | None = None
    """host:port of health checks in clear, with `--health`."""

    def metric(self, name: str, **labels: str) -> float:
        """The value of a sample of its metrics page, summed over the labels not named."""
        page = self.metrics_page()
        found = [
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert found, f"no sample {name} {labels}"
        return sum(found)

    def metrics_page(self) -> str:
        """What Prometheus would read."""
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=DEADLINE) as page:
            text: str = page.read().decode()
        return text

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

    def threads(self) -> int:
        """How many threads it has (Linux)."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def descriptors(self) -> int:
        """How many files and sockets it has open (Linux)."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextmanager
def cloud_process(
    folder: Path, bundles: Sequence[Path], *flags: str, module: str = "cloud_server"
) -> Iterator[CloudProcess]:
    """A cloud that serves `bundles` on free ports of loopback, ready; killed at the end if it still runs.

    Its log and ready file are written into `folder`. `module` is what is run: a cloud, or one with a fault built in.
    """
    with starting_cloud(folder, bundles, *flags, module=module) as (process, log):
        ready = folder / "ready.json"
        wait_for(lambda: ready.exists() or process.poll() is not None, "the cloud to be ready")
        assert process.poll() is None, f"the cloud ended with {process.returncode}: {log.read_text()}"
        said = json.loads(ready.read_text())
        yield CloudProcess(process, said["listen"], said["metrics"], log, said.get("health"))


@contextmanager
def starting_cloud(
    folder: Path, bundles: Sequence[Path], *flags: str, module: str = "cloud_server"
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """As `cloud_process`, just started: the process and its log."""
    folder.mkdir(parents=True, exist_ok=True)
    ready, log = folder / "ready.json", folder / "cloud.log"
    command = [sys.executable, "-m", module]
    if "--tls-cert" not in flags:
        command.append("--insecure")
    for bundle in bundles:
        command += ["--bundle", str(bundle)]
    command += ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--ready-file", str(ready), "--threads", "1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEUCODEX_")}
    with log.open("wb") as standard_error:
        process = subprocess.Popen(
            [*command, *flags], stderr=standard_error, env={**environment, "OMP_NUM_THREADS": "1"}, cwd=_root()
        )
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE)


def _root() -> Path:
    """The folder from which `python -m cloud_server` finds this checkout."""
    return Path(__file__).resolve().parents[2]
