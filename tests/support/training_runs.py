"""`neucodex-train` as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.edges import ROOT

TRAIN = (sys.executable, "-m", "training")


def environment() -> dict[str, str]:
    """One thread, and this checkout."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def command(verb: str, recipe: Path, runs: Path, *more: str) -> list[str]:
    """The command line of a verb that takes a recipe."""
    return [*TRAIN, verb, "--recipe", str(recipe), "--runs", str(runs), *more]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=900, check=False)
