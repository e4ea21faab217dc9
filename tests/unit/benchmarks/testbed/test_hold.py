from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.testbed.hold import CGROUPS, held
from shared.errors import ConfigError

WORK = "import sys, time\nsys.stdin.readline()\nt = time.perf_counter(); c = time.process_time()\n" + (
    "while time.perf_counter() - t < 1.0: pass\nprint(time.process_time() - c)"
)


@pytest.mark.parametrize("quota", [True, False], ids=["cgroup", "nice"])
def test_a_process_gets_no_more_than_its_share(quota: bool, tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    process = subprocess.Popen([sys.executable, "-c", WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with held(process.pid, 0.25, core, CGROUPS if quota else tmp_path) as means:
        out, _ = process.communicate("go\n")
    if quota and means != "cgroup":
        pytest.skip("no cgroup may be written here")
    assert means == ("cgroup" if quota else "nice")
    assert 0.02 < float(out) < 0.36


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="share"), held(os.getpid(), 0.0, 0):
        pass
