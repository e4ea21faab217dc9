"""The testbed's edge, a process that is given jobs, and the core that a process is held to."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import END_S, end, start
from benchmarks.testbed.schema import SampleRow
from shared.errors import NeucodexError


def pin(pid: int, core: int) -> None:
    """Let all threads of a process, and those that they start, run on one core alone."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})


class EdgeWorkerProcess:
    """`python -m benchmarks.testbed.edge_worker` behind a prefix (a namespace's, or ssh). A context manager.

    Args:
        prefix: before the command.
        python: the interpreter there.
        flags: of the worker.
    """

    def __init__(self, prefix: Sequence[str], python: str, flags: Sequence[str]) -> None:
        arguments = ["benchmarks.testbed.edge_worker", *flags]
        self.process = start(
            arguments, prefix=prefix, python=python, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait_ready(self) -> None:
        """Wait until it has loaded everything.

        Raises:
            NeucodexError: it did not start; standard error says why.
        """
        assert "ready" in self._next()

    def measure(self, repeats: int, share: float) -> dict[str, Any]:
        """The speed of its networks, see `benchmarks.testbed.edge_worker`."""
        self._tell({"measure": repeats, "share": share})
        speeds: dict[str, Any] = self._next()["done"]
        return speeds

    def do(self, job: Mapping[str, Any]) -> list[SampleRow]:
        """Run a job to its end; returns a row for each sample.

        Raises:
            NeucodexError: it failed; the text says why.
        """
        self._tell(job)
        rows: list[SampleRow] = []
        while "done" not in (said := self._next()):
            if "failed" in said:
                raise NeucodexError(f"the edge could not do it: {said['failed']}")
            rows.append(said)
        return rows

    def stop(self) -> None:
        """End it in the middle of its job, which then fails."""
        self.process.terminate()

    def __enter__(self) -> EdgeWorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        # The end of its input ends it, on another machine too, where a signal would end ssh alone.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        end(self.process)

    def _tell(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def _next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                said: dict[str, Any] = json.loads(line)
                return said
        raise NeucodexError(f"the edge ended with exit code {self.process.wait()}: see above")
