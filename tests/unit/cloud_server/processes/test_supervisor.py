"""How several processes share the cores, and how they end."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from pathlib import Path

import pytest

from cloud_server.config import CloudConfig
from cloud_server.processes import supervisor
from cloud_server.processes.child import Child
from cloud_server.processes.supervisor import Supervisor, share_of_cores
from tests.support.processes import DEADLINE, wait_for


@pytest.mark.parametrize(
    ("cores", "shares"),
    [
        (range(4), [[0, 1], [2, 3]]),
        (range(5), [[0, 1], [2, 3, 4]]),
        (range(2, 5), [[2], [3], [4]]),
        ([7], [[7], [7], [7]]),
        ([0, 1], [[0], [1], [0]]),
    ],
)
def test_each_process_has_its_share(cores: list[int], shares: list[list[int]]) -> None:
    assert [share_of_cores(list(cores), place, len(shares)) for place in range(len(shares))] == shares


def one_is_deaf(child: Child) -> None:
    """Two children: one is warm and hears no signal, and then the other fails."""
    deaf = child.config.ready_file
    assert deaf is not None
    if multiprocessing.current_process().name == "neucodex-cloud-0":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child.pipe.send(["bundle"])
        deaf.touch()
        threading.Event().wait()
    wait_for(deaf.exists, "the other to be deaf")
    sys.exit(3)


def test_a_child_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "run_child", one_is_deaf)
    monkeypatch.setattr(supervisor, "STUCK_AFTER_S", 0.1)
    config = CloudConfig((tmp_path,), processes=2, ready_file=tmp_path / "deaf")
    supervising = Supervisor(config, ("text", "warning"), str(tmp_path))
    rescued = threading.Event()

    def rescue() -> None:
        rescued.set()
        supervising.kill()

    late = threading.Timer(DEADLINE, rescue)
    late.start()
    assert supervising.run(lambda _: None) == 3
    assert not rescued.is_set(), "it was this test that killed it"
    late.cancel()
