"""How much memory there is to take: of the machine, or of the container where that has less."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""What a container may take and what it has taken, in the two versions of control groups."""

UNKNOWN = 1 << 30
"""Bytes that are assumed where the system does not say."""


def available_bytes(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int:
    """Bytes that can be taken now without swapping; `UNKNOWN` where the system does not say (outside Linux)."""
    found = [room for names in LIMITS if (room := _room(cgroup, *names)) is not None]
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        found.append(int(fields["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError, IndexError):
        pass
    return max(0, min(found, default=UNKNOWN))


def _room(cgroup: Path, limit: str, taken: str) -> int | None:
    """Bytes left of a container's limit; None where it has none ("max")."""
    try:
        return int((cgroup / limit).read_text()) - int((cgroup / taken).read_text())
    except (OSError, ValueError):
        return None
