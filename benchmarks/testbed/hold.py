"""Hold a process to a share of one core: by its cgroup's quota, else by a core that it shares with one that only spins.

Quotas are given out in short periods, so that a step of some milliseconds is slowed as a slower core would do it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.testbed.record_form import EdgeMeans
from shared.errors import ConfigError

CGROUPS = Path("/sys/fs/cgroup")
QUOTA_US = 1000
"""The least that the kernel takes."""

NICE_STEP = 1.25
"""Each step of nice is that much less of a shared core (Linux: sched_prio_to_weight)."""

MOST_NICE = 19
SPIN = "while True: pass"


@contextlib.contextmanager
def held(pid: int, share: float, core: int, cgroups: Path = CGROUPS) -> Iterator[EdgeMeans]:
    """A process with all its threads, on `core` and with that share of it, for the block; how.

    Raises:
        ConfigError: the share is not in (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"an edge's share of a core is {share}: it must lie in (0, 1]")
    pin(pid, core)
    if share == 1.0:
        yield "as it is"
        return
    group = _quota(pid, share, cgroups)
    if group is not None:
        try:
            yield "cgroup"
        finally:
            _release(group, pid)
        return
    with _beside_a_spinner(pid, share, core):
        yield "nice"


def pin(pid: int, core: int) -> None:
    """Let all threads of a process run on one core alone."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})


def _quota(pid: int, share: float, cgroups: Path) -> Path | None:
    """The cgroup made for it, of version 2 or 1; None where there is none to be had."""
    period = round(QUOTA_US / share)
    for root, limits in (
        (cgroups, {"cpu.max": f"{QUOTA_US} {period}"}),
        (cgroups / "cpu", {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(QUOTA_US)}),
    ):
        group = root / f"neucodex-edge-{pid}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            # A folder in something that is no cgroup would take the files, and hold nobody to anything.
            if not (group / "cgroup.procs").exists():
                raise OSError("no cgroup")
            for name, value in limits.items():
                (group / name).write_text(value)
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            _release(group, pid)
            continue
        return group
    return None


def _release(group: Path, pid: int) -> None:
    with contextlib.suppress(OSError):
        (group.parent / "cgroup.procs").write_text(str(pid))
    with contextlib.suppress(OSError):
        group.rmdir()


@contextlib.contextmanager
def _beside_a_spinner(pid: int, share: float, core: int) -> Iterator[None]:
    """Against one process that never sleeps, a nicer one gets its weight's part of the core."""
    steps = next((n for n in range(MOST_NICE + 1) if 1 / (1 + NICE_STEP**n) <= share), MOST_NICE)
    spinner = subprocess.Popen([sys.executable, "-c", SPIN])  # noqa: S603  our own text
    try:
        os.sched_setaffinity(spinner.pid, {core})
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(task.name), steps)
        yield
    finally:
        spinner.kill()
        spinner.wait()
