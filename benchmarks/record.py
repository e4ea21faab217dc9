"""The record of a benchmark: what was measured, on what, from which commit, against which goals."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from training.provenance import commit

PACKAGES = ("torch", "numpy", "grpcio", "protobuf", "zstandard", "snntorch", "onnxruntime", "constriction")


@dataclass(frozen=True)
class Goal:
    """One figure that was aimed at; `measured` None with a note where it could not be measured."""

    name: str
    goal: float
    measured: float | None
    unit: str
    better: Literal["lower", "higher"]
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured <= self.goal if self.better == "lower" else self.measured >= self.goal

    @property
    def verdict(self) -> str:
        """`met` in a word."""
        return {None: "not measured", True: "met", False: "missed"}[self.met]

    @property
    def sentence(self) -> str:
        """What was measured, what for, and what was asked, for people: `6.5x fewer bytes than JPEG q90; asked: 10x`.

        What a name has before a colon, such as who set the goal, stays in front.
        """
        who, _, what = self.name.rpartition(": ")
        limit = "at most " if self.better == "lower" else ""
        measured = "not measured:" if self.measured is None else self._with_unit(self.measured)
        return f"{who + ': ' if who else ''}{measured} {what}; asked: {limit}{self._with_unit(self.goal)}"

    def _with_unit(self, value: float) -> str:
        shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return f"{shown}{'' if self.unit == 'x' else ' '}{self.unit}"

    @property
    def asks(self) -> str:
        """The goal in words."""
        return f"at {'most' if self.better == 'lower' else 'least'} {self.goal:g} {self.unit}"

    @property
    def reads(self) -> str:
        """The measured figure in words."""
        return "not measured" if self.measured is None else f"{self.measured:,.4g} {self.unit}"


@dataclass(frozen=True)
class Findings:
    """What a benchmark returns: how much was measured, the results, and the goals."""

    n: Mapping[str, Any]
    results: Mapping[str, Any]
    targets: Sequence[Goal] = ()


class Clock:
    """Notes when, from which commit and under which load a benchmark began; `write` is called at its end."""

    def __init__(self, benchmark: str) -> None:
        self._benchmark = benchmark
        self._started = datetime.now(timezone.utc)
        self._from = time.monotonic()
        self._commit = commit()  # before its own files change
        self._machine = machine()

    def write(self, findings: Findings, out: Path) -> Path:
        """Write `out/record.json`."""
        record = {
            "benchmark": self._benchmark,
            "commit": self._commit,
            "command": command(),
            "machine": self._machine,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._from, 1),
            "n": dict(findings.n),
            "results": dict(findings.results),
            "targets": [{**asdict(target), "met": target.met} for target in findings.targets],
        }
        out.mkdir(parents=True, exist_ok=True)
        path = out / "record.json"
        path.write_text(json.dumps(record, indent=2) + "\n")
        return path


def machine() -> dict[str, Any]:
    """CPU or GPU, cores, memory, load, versions: what figures depend on, and nothing that names the machine."""
    found: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load_at_start": round(os.getloadavg()[0], 1),
        "system": platform.system(),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    gpu = _gpu()
    return {**found, "gpu": gpu} if gpu else found


def command() -> str:
    """The command line that this process was started with, as one would type it in the checkout; DIR for a folder
    that is elsewhere."""
    program = Path(sys.argv[0])
    began = program.name
    if program.name == "__main__.py":
        began = f"python -m {program.parent.name}"
    elif program.suffix == ".py":
        began = f"python -m {program.parent.name}.{program.stem}"
    return " ".join([began, *("DIR" if Path(argument).is_absolute() else argument for argument in sys.argv[1:])])


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in values.items()}
    widest = next((f for f in ("avx512f", "avx2", "asimd") if f in named.get("flags", "").split()), "")
    return f"{named.get('model name', platform.machine())} {widest}".strip()


def _gpu() -> str | None:
    torch = sys.modules.get("torch")  # not worth importing it for
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name())
