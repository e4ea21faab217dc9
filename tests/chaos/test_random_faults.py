"""The short form of `neucodex-bench faults`: for some seconds everything breaks in random order."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults.machine import WallClock, fill, small_disk
from benchmarks.faults.measure import measure
from benchmarks.processes import start

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_is_lost_twice_or_wrong_whatever_breaks() -> None:
    found = measure(ROOT / "models" / "resnet18-digits", "digits", None, minutes=0.25, seed=7, samples=60)
    assert {goal.name: goal.measured for goal in found.targets if not goal.met} == {}
    assert found.n["faults"] >= 1
    assert found.n["samples"] == 60 * found.n["rounds"]


def test_a_clock_jumps_for_those_who_were_started_with_it(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    if clock.missing:
        pytest.skip(clock.missing)
    clock.jump(86_400)
    asks = "import time; print(time.time())"
    with start(["timeit", "-n1", "-r1", asks], variables=clock.variables, stdout=-1, text=True) as process:
        said, _ = process.communicate()
    with start(["timeit", "-n1", "-r1", asks], stdout=-1, text=True) as process:
        here, _ = process.communicate()
    ahead = float(said.splitlines()[0]) - float(here.splitlines()[0])
    assert 86_000 < ahead <= 86_400


def test_a_disk_that_is_filled_has_no_room_until_it_is_made(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as missing:
        if missing:
            pytest.skip(missing)
        filler = fill(tmp_path / "disk")
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "disk" / "more").write_bytes(bytes(8192))
        filler.unlink()
        (tmp_path / "disk" / "more").write_bytes(bytes(8192))
    assert not (tmp_path / "disk" / "more").exists(), "it is gone with the disk"
