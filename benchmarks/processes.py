"""Processes of ours that a benchmark starts: what they inherit, when they are ready, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from shared.errors import CloudUnavailable

START_S = 180.0
"""Torch and a full-width bundle, on a machine that is busy."""

END_S = 15.0
"""Seconds between SIGTERM and SIGKILL."""


def environment() -> dict[str, str]:
    """This process's, without what would configure our commands."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NEUCODEX_")}


def wait_ready(process: subprocess.Popen[Any], ready_file: Path, what: str, within_s: float = START_S) -> Any:
    """The JSON that a process wrote to its ready file, once it has.

    Raises:
        CloudUnavailable: `what` ended before, or took too long.
    """
    give_up = time.monotonic() + within_s
    while not (ready_file.exists() and ready_file.stat().st_size):
        if process.poll() is not None:
            raise CloudUnavailable(f"{what} ended with exit code {process.returncode}: see above")
        if time.monotonic() > give_up:
            raise CloudUnavailable(f"{what} was not ready within {within_s:g} s")
        time.sleep(0.02)
    return json.loads(ready_file.read_text())


def end(process: subprocess.Popen[Any]) -> None:
    """SIGTERM, and SIGKILL where that does not help; nothing if it has ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end_as_ctrl_c() -> None:
    """From now on SIGTERM interrupts as Ctrl-C does, so that processes and namespaces made here are put away."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
