"""The testbed's edge, a process that is given jobs, and the core that a process is held to."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import END_S, START_S, LinesProcess
from shared.errors import NeucodexError

SILENCE_S = 700.0
"""Longer than any sample may take."""

SampleRow = dict[str, Any]


def pin(pid: int, core: int) -> None:
    """Let all threads of a process, and those that they start, run on one core alone."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})


class EdgeWorkerProcess(LinesProcess):
    """`python -m benchmarks.testbed.edge_worker` behind a prefix (a namespace's, or ssh).

    Args:
        prefix: before the command.
        python: the interpreter there.
        flags: of the worker.
    """

    def __init__(self, prefix: Sequence[str], python: str, flags: Sequence[str]) -> None:
        super().__init__(["benchmarks.testbed.edge_worker", *flags], prefix=prefix, python=python)
        self._read_lines = 0

    def wait_ready(self) -> dict[str, Any]:
        """Wait until it has loaded everything; returns what it holds.

        Raises:
            NeucodexError: it did not start; standard error says why.
        """
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
        row: Callable[[SampleRow], None] = lambda _: None,
    ) -> tuple[dict[str, Any], list[SampleRow]]:
        """Run a job to its end.

        Args:
            job: what the worker is to do.
            warm: called before the first sample, which waits until it returns.
            row: called with the row of each sample.

        Raises:
            NeucodexError: it failed; the text says why.
        """
        self._tell(json.dumps(job))
        rows: list[SampleRow] = []
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

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin is not None
        # The end of its input ends it, on another machine too, where a signal would end ssh alone.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        super().__exit__(*error)

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _next(self, within_s: float) -> dict[str, Any]:
        if not self.wait_for_lines(self._read_lines + 1, within_s):
            if self._over:
                raise NeucodexError(f"the edge ended with exit code {self.process.wait()}: see above")
            raise NeucodexError(f"the edge said nothing for {within_s:g} s")
        self._read_lines += 1
        return self._lines[self._read_lines - 1]
