"""An edge process whose results are read as they come."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import end, environment
from shared.errors import NeucodexError


class EdgeProcess:
    """`python -m edge_client classify --json`, its lines taken in by a thread. A context manager: its end ends it.

    Args:
        flags: of `classify`, without --json.
        errors: where its standard error goes.
        names: what is written to its standard input, a line every `every_s` seconds.
    """

    def __init__(self, flags: Sequence[str], errors: Path, names: Sequence[str] = (), every_s: float = 0.0) -> None:
        command = [
            sys.executable,
            "-m",
            "edge_client",
            "classify",
            "--insecure",
            "--json",
            "--no-picture-sizes",
            *flags,
        ]
        self._errors = errors
        with errors.open("wb") as err:
            self._process = subprocess.Popen(  # noqa: S603  our own module
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True, env=environment()
            )
        self._lines: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._names = names
        self._every_s = every_s
        threading.Thread(target=self._write, daemon=True).start()

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The lines of samples so far."""
        with self._news:
            return [line for line in self._lines if "summary" not in line]

    def wait_for_samples(self, count: int) -> bool:
        """Wait until there are so many, or the process has ended; whether there are."""
        with self._news:
            self._news.wait_for(lambda: self._over or len(self._lines) >= count)
            return len(self._lines) >= count

    def wait(self) -> dict[str, Any]:
        """Wait for its end; its summary.

        Raises:
            NeucodexError: it ended without one.
        """
        self._reader.join()
        code = self._process.wait()
        last = self._lines[-1] if self._lines else {}
        if "summary" not in last:
            raise NeucodexError(f"the edge ended with exit code {code}: {self._errors.read_text().strip()}")
        summary: dict[str, Any] = last["summary"]
        return summary

    def peak_resident_mib(self) -> float:
        """The most memory it has had resident so far; it must be alive (Linux)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        return int(kib) / 1024

    def has_loaded(self, library: str) -> bool:
        """Whether a shared library whose path contains that is mapped; it must be alive (Linux)."""
        return library in Path(f"/proc/{self._process.pid}/maps").read_text()

    def __enter__(self) -> EdgeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)
        self._reader.join()

    def _write(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as lines:
            for name in self._names:
                lines.write(f"{name}\n")
                lines.flush()
                time.sleep(self._every_s)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self._lines.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()
