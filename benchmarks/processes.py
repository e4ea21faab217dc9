"""How tests, demo and benchmarks start our processes: a cloud, an edge, or another module with a ready file."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from shared.errors import CloudUnavailable, NeucodexError

if TYPE_CHECKING:
    from typing import Self

START_S = 180.0
"""Torch and a full-width bundle, on a machine that is busy."""

END_S = 15.0
"""Seconds between SIGTERM and SIGKILL."""

PAGE_S = 30.0
ROOT = Path(__file__).resolve().parents[1]
ANY_PORT = "127.0.0.1:0"


def start(
    arguments: Sequence[str],
    *,
    prefix: Sequence[str] = (),
    python: str = sys.executable,
    variables: Mapping[str, str] | None = None,
    **streams: Any,
) -> subprocess.Popen[Any]:
    """Start `python -m` with a module of this checkout and its arguments.

    Args:
        arguments: the module's name, then its arguments.
        prefix: what runs the command: `ip netns exec NAME`, or ssh.
        python: the interpreter, as `prefix` finds it.
        variables: environment variables beside ours. Variables that would configure our commands are left out.
        streams: what `subprocess.Popen` takes.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NEUCODEX_")}
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**inherited, "PYTHONPATH": paths, **(variables or {})}
    return subprocess.Popen([*prefix, python, "-m", *arguments], env=environment, **streams)  # noqa: S603  our own module


def end(process: subprocess.Popen[Any]) -> None:
    """End a process by SIGTERM, and by SIGKILL where that does not help. Do nothing if it has ended."""
    if process.poll() is None:
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a frozen one hears nothing else
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end_as_ctrl_c() -> None:
    """Let SIGTERM interrupt this process as Ctrl-C does, so that its processes and namespaces are removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def allow_many_files() -> int:
    """Raise the limit of open files of this process and its children as far as it goes; returns the new limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


class ServerProcess:
    """A module that writes JSON to a ready file once it serves. A context manager: its end ends the process.

    Args:
        arguments: the module's name, then its arguments; they name the ready file.
        ready_file: where the module writes.
        prefix: what runs the command.
        log: the file for its standard error; ours if None.
        variables: environment variables beside ours.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        ready_file: Path,
        *,
        prefix: Sequence[str] = (),
        log: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.ready: dict[str, Any] = {}
        self._arguments = list(arguments)
        self._ready_file = ready_file
        self._prefix = prefix
        self._log = log
        self._variables = variables
        self.process = self._start()

    def wait_ready(self, within_s: float = START_S) -> Self:
        """Wait until it serves; `ready` is then what it wrote. It is ended if it does not.

        Raises:
            CloudUnavailable: it ended before, or took too long.
        """
        with contextlib.ExitStack() as failed:
            failed.callback(end, self.process)
            self._wait_for_file(within_s)
            failed.pop_all()
        self.ready = json.loads(self._ready_file.read_text())
        return self

    def _wait_for_file(self, within_s: float) -> None:
        give_up = time.monotonic() + within_s
        while not (self._ready_file.exists() and self._ready_file.stat().st_size):
            if self.process.poll() is not None:
                said = "see above" if self._log is None else self._log.read_text().strip()
                raise CloudUnavailable(f"{self._arguments[0]} ended with exit code {self.process.returncode}: {said}")
            if time.monotonic() > give_up:
                raise CloudUnavailable(f"{self._arguments[0]} was not ready within {within_s:g} s")
            time.sleep(0.02)

    @property
    def listen(self) -> str:
        """The host:port where it serves."""
        return str(self.ready["listen"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)

    def _start(self) -> subprocess.Popen[Any]:
        self._ready_file.parent.mkdir(parents=True, exist_ok=True)
        self._ready_file.unlink(missing_ok=True)
        with contextlib.ExitStack() as stack:
            log = None if self._log is None else stack.enter_context(self._log.open("wb"))
            return start(self._arguments, prefix=self._prefix, variables=self._variables, stderr=log)


class CloudProcess(ServerProcess):
    """`python -m cloud_server` on free ports of loopback, in clear unless `flags` bring a certificate.

    Args:
        bundles: the folders of the bundles that it serves.
        folder: receives the ready file.
        flags: further arguments; one that is given again replaces the one from here.
        module: a module that stands in for `cloud_server`.
        how: as of `ServerProcess`.
    """

    def __init__(
        self, bundles: Sequence[Path], folder: Path, *flags: object, module: str = "cloud_server", **how: Any
    ) -> None:
        ready_file = folder / "ready.json"
        arguments = [module, *([] if "--tls-cert" in flags else ["--insecure"]), "--ready-file", ready_file]
        for bundle in bundles:
            arguments += ["--bundle", bundle]
        arguments += ["--listen", ANY_PORT, "--metrics", ANY_PORT, *flags]
        super().__init__([str(argument) for argument in arguments], ready_file, **how)

    def kill(self) -> None:
        """End it without a word to anyone."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop it in its tracks: its machine still acknowledges what comes, and nobody answers."""
        self.process.send_signal(signal.SIGSTOP)

    def restart(self) -> None:
        """Start it again after `kill`, at the same address, and wait until it serves."""
        self._arguments += ["--listen", self.listen]
        self.process = self._start()
        self.wait_ready()

    @property
    def metrics_address(self) -> str:
        """The host:port of its metrics page."""
        return str(self.ready["metrics"])

    def metrics_page(self) -> str:
        """What Prometheus would read."""
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=PAGE_S) as page:
            text: str = page.read().decode()
        return text

    def samples(self) -> list[tuple[str, Mapping[str, str], float]]:
        """Name, labels and value of each sample of its metrics page."""
        families = text_string_to_metric_families(self.metrics_page())
        return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]

    def metrics(self) -> dict[str, float]:
        """The value of each metric, summed over its labels."""
        found: dict[str, float] = defaultdict(float)
        for name, _, value in self.samples():
            found[name] += value
        return dict(found)

    def stages(self) -> dict[str, tuple[float, float]]:
        """The (seconds, times) of each stage since the start."""
        found: dict[str, dict[str, float]] = {"sum": {}, "count": {}}
        for name, labels, value in self.samples():
            for kind, values in found.items():
                if name == f"neucodex_cloud_stage_seconds_{kind}":
                    values[labels["stage"]] = value
        return {stage: (found["sum"][stage], count) for stage, count in found["count"].items()}

    def cpu_seconds(self) -> float:
        """Processor time of all its threads since its start (Linux)."""
        # The second field is the program's name in brackets and may hold spaces.
        fields = self._proc("stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Memory that it holds, MB (Linux)."""
        return int(self._proc("statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def threads(self) -> int:
        """How many threads it has (Linux)."""
        return len(list(self._proc("task").iterdir()))

    def descriptors(self) -> int:
        """How many files and sockets it has open (Linux)."""
        return len(list(self._proc("fd").iterdir()))

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self.process.pid}/{name}")


class EdgeProcess:
    """`python -m edge_client classify --json`, its lines taken in by a thread. A context manager: its end ends it.

    Args:
        flags: of `classify`, without --json.
        log: the file for its standard error.
        names: lines for its standard input, each written when it comes.
        how: as of `start`.
    """

    def __init__(self, flags: Sequence[str], log: Path, names: Iterable[str] = (), **how: Any) -> None:
        self._log = log
        self._lines: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._over = False
        arguments = ["edge_client", "classify", "--insecure", "--json", "--no-picture-sizes", *flags]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with log.open("wb") as errors:
            self.process = start(arguments, stderr=errors, **pipes, **how)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        threading.Thread(target=self._write, args=(names,), daemon=True).start()

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The lines of samples so far."""
        with self._changed:
            return [line for line in self._lines if "summary" not in line]

    def wait_for_lines(self, count: int) -> bool:
        """Wait until there are `count` lines or the process has ended; returns whether there are."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or len(self._lines) >= count)
            return len(self._lines) >= count

    def wait(self) -> dict[str, Any]:
        """Wait for its end; returns its summary.

        Raises:
            NeucodexError: it ended without one.
        """
        self._reader.join()
        code = self.process.wait()
        last = self._lines[-1] if self._lines else {}
        if "summary" not in last:
            raise NeucodexError(f"the edge ended with exit code {code}: {self._log.read_text().strip()}")
        summary: dict[str, Any] = last["summary"]
        return summary

    def peak_resident_mib(self) -> float:
        """The most memory that it has held so far; it must be alive (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        return int(kib) / 1024

    def has_loaded(self, library: str) -> bool:
        """Whether a shared library whose path contains that is mapped; it must be alive (Linux)."""
        return library in Path(f"/proc/{self.process.pid}/maps").read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)
        self._reader.join()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            if line.startswith("{"):
                with self._changed:
                    self._lines.append(json.loads(line))
                    self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _write(self, names: Iterable[str]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self.process.stdin as lines:
            for name in names:
                lines.write(f"{name}\n")
                lines.flush()
