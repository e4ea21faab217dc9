"""How much memory there is: the least of what the machine and the container say."""

from __future__ import annotations

from pathlib import Path

from shared.memory import UNKNOWN, available_bytes

MEMINFO = "MemTotal:       16000000 kB\nMemAvailable:    2000000 kB\n"


def test_the_least_of_machine_and_container(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    assert available_bytes(meminfo, tmp_path) == UNKNOWN
    meminfo.write_text(MEMINFO)
    assert available_bytes(meminfo, tmp_path) == 2_000_000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("100\n")
    assert available_bytes(meminfo, tmp_path) == 2_000_000 * 1024
    (tmp_path / "memory.max").write_text("1000\n")
    assert available_bytes(meminfo, tmp_path) == 900
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text("500\n")
    (tmp_path / "memory/memory.usage_in_bytes").write_text("600\n")
    assert available_bytes(meminfo, tmp_path) == 0
    meminfo.write_text("MemAvailable: soon\n")
    assert available_bytes(meminfo, tmp_path / "nothing") == UNKNOWN


def test_this_machine_has_some() -> None:
    assert available_bytes() > 0
