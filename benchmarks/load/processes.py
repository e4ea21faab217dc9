"""A cloud process to be measured: started with flags, waited for, looked at from outside, ended."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import end, environment, wait_ready

ANY_PORT = "127.0.0.1:0"
PAGE_S = 30.0


class Cloud:
    """`python -m cloud_server` with one bundle on free ports of loopback. A context manager: its end ends the process.

    Args:
        bundle: the bundle's folder.
        folder: receives the ready file.
        flags: further ones, by their names on the command line; True for one without a value.
    """

    def __init__(self, bundle: Path, folder: Path, flags: Mapping[str, object]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ready_file = folder / "ready.json"
        self._said: dict[str, str] = {}
        given = {"--bundle": bundle, "--listen": ANY_PORT, "--metrics": ANY_PORT, "--log-level": "warning", **flags}
        command = [sys.executable, "-m", "cloud_server", "--insecure", "--ready-file", str(self._ready_file)]
        for flag, value in given.items():
            command += [flag] if value is True else [flag, str(value)]
        self._command = command
        self._process = self._start()

    def __enter__(self) -> Cloud:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)

    def wait_ready(self) -> None:
        """Wait until it serves.

        Raises:
            CloudUnavailable: it ended, or took too long.
        """
        self._said = wait_ready(self._process, self._ready_file, "the cloud process")

    def kill(self) -> None:
        """End it without a word to anyone."""
        self._process.kill()
        self._process.wait()
        self._ready_file.unlink(missing_ok=True)

    def restart(self) -> None:
        """Start it again after `kill`, at the same address, and wait until it serves."""
        self._command[self._command.index("--listen") + 1] = self.address
        self._process = self._start()
        self.wait_ready()

    @property
    def address(self) -> str:
        """host:port of gRPC."""
        return self._said["listen"]

    def metrics(self) -> dict[str, float]:
        """Its metrics page: every sample's value, summed over its labels."""
        found: dict[str, float] = defaultdict(float)
        for name, _, value in self._page():
            found[name] += value
        return dict(found)

    def stages(self) -> dict[str, tuple[float, float]]:
        """Every stage's (seconds, times) since the start."""
        page = self._page()
        found: dict[str, dict[str, float]] = {"sum": {}, "count": {}}
        for name, labels, value in page:
            for kind, values in found.items():
                if name == f"neucodex_cloud_stage_seconds_{kind}":
                    values[labels["stage"]] = value
        return {stage: (found["sum"][stage], count) for stage, count in found["count"].items()}

    def cpu_seconds(self) -> float:
        """Processor time of all its threads since its start (Linux)."""
        # The second field is the program's name in brackets and may hold spaces.
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Memory that it holds, MB (Linux)."""
        return int(self._proc("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def threads(self) -> int:
        """How many threads it has (Linux)."""
        return self._entries("task")

    def descriptors(self) -> int:
        """How many files and sockets it has open (Linux)."""
        return self._entries("fd")

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, env=environment())  # noqa: S603  our own module

    def _page(self) -> list[tuple[str, Mapping[str, str], float]]:
        with urllib.request.urlopen(f"http://{self._said['metrics']}/metrics", timeout=PAGE_S) as page:
            text = page.read().decode()
        return [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    def _entries(self, name: str) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/{name}").iterdir()))


def allow_many_files() -> int:
    """Let this process and its children open as many files as they may.

    Returns:
        How many that is.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
