"""The testbed's processes: the picture server, the probe's far end, and the edge, which is told what to do."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import END_S, START_S, end, environment, wait_ready
from shared.errors import NeucodexError

SILENCE_S = 700.0
"""Longer than any sample may take."""

Row = dict[str, Any]


def pin(pid: int, core: int) -> None:
    """Let all threads of a process, and those that they start, run on one core alone."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})


@contextlib.contextmanager
def service(prefix: Sequence[str], arguments: Sequence[str], ready_file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """A module of ours for the block: its process id, and what it wrote to `ready_file`.

    Raises:
        CloudUnavailable: it ended, or was not ready in time.
    """
    ready_file.unlink(missing_ok=True)
    process = subprocess.Popen([*prefix, sys.executable, "-m", *arguments], env=environment())  # noqa: S603
    try:
        yield process.pid, wait_ready(process, ready_file, arguments[0])
    finally:
        end(process)


class EdgeProcess:
    """`python -m benchmarks.testbed.edge_worker` behind a prefix (a namespace's, or ssh).

    A context manager: its end ends it.

    Args:
        prefix: before the command.
        python: there.
        flags: of the edge.

    Raises:
        NeucodexError: it did not start; what it said is on standard error.
    """

    def __init__(self, prefix: Sequence[str], python: str, flags: Sequence[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  our own module
            [*prefix, python, "-m", "benchmarks.testbed.edge_worker", *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.pid = self._process.pid
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_ready(self) -> dict[str, Any]:
        """Wait until it has loaded everything; what it holds."""
        ready: dict[str, Any] = self._next(START_S)["ready"]
        return ready

    def measure(self, repeats: int, share: float) -> dict[str, Any]:
        """The speed of its network, see `benchmarks.testbed.edge_worker`."""
        done, _ = self.do({"measure": repeats, "share": share})
        return done

    def do(
        self,
        job: Mapping[str, Any],
        warm: Callable[[], None] = lambda: None,
        row: Callable[[Row], None] = lambda _: None,
    ) -> tuple[dict[str, Any], list[Row]]:
        """A job to its end. `warm` is told before its first sample, and held up until it returns; `row` of each sample.

        Raises:
            NeucodexError: it failed; the text says why.
        """
        self._tell(json.dumps(job))
        rows: list[Row] = []
        while True:
            said = self._next(SILENCE_S)
            if "done" in said:
                return said["done"], rows
            if "failed" in said:
                raise NeucodexError(f"the edge could not do it: {said['failed']}")
            if "warm" in said:
                warm()
                self._tell("")
                continue
            rows.append(said)
            row(said)

    def __enter__(self) -> EdgeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            end(self._process)
        self._reader.join()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _next(self, within_s: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=within_s)
        except queue.Empty:
            raise NeucodexError(f"the edge said nothing for {within_s:g} s") from None
        if line is None:
            raise NeucodexError(f"the edge ended with exit code {self._process.wait()}: see above")
        said: dict[str, Any] = json.loads(line)
        return said

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self._lines.put(line)
        self._lines.put(None)
