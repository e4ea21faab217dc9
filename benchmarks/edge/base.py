"""What one measurement adds to the record of `neucodex-bench edge`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import Target

QUIET_CLOUD = ("--threads", 1, "--log-level", "warning")
"""Flags of the cloud beside the edge that is measured: it leaves a core free, and says nothing when all is well."""


@dataclass(frozen=True)
class Rig:
    """What all measurements run on: the bundle, what it classifies, a folder for files, and whether to be quick."""

    bundle: Path
    dataset: str
    data: Path | None
    folder: Path
    quick: bool


@dataclass(frozen=True)
class Part:
    """`n` and `results` stand under the measurement's name."""

    n: Mapping[str, Any]
    results: Mapping[str, Any]
    targets: Sequence[Target] = ()
