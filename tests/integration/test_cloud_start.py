"""A cloud that gets a signal, or loses one of its processes, before all are warm."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from shared.bundle import Bundle
from tests.support.edges import run_edge
from tests.support.processes import DEADLINE, cloud_process, starting_cloud, wait_for
from tests.support.prometheus import free_port
from tests.support.signalled_cloud import NUMBER
from tests.support.stalled_cloud import STALLED

SIGNALLED_CLOUD = "tests.support.signalled_cloud"
STALLED_CLOUD = "tests.support.stalled_cloud"
WARM = "slots, "


@contextmanager
def half_warm_cloud(folder: Path, bundle: Bundle) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Of two processes one is warm and the other never will be; with the log."""
    with starting_cloud(folder, [bundle.path], "--processes", "2", module=STALLED_CLOUD) as (cloud, log):
        wait_for(lambda: STALLED in log.read_text() and WARM in log.read_text(), "one to be warm, one on its way")
        yield cloud, log


def test_sigterm_while_it_warms_up_ends_it(tmp_path: Path, bundle: Bundle) -> None:
    with starting_cloud(tmp_path, [bundle.path], module=STALLED_CLOUD) as (cloud, log):
        wait_for(lambda: STALLED in log.read_text(), "the warm-up")
        cloud.send_signal(signal.SIGTERM)
        assert cloud.wait(DEADLINE) == 0
        assert "Traceback" not in log.read_text()


def test_an_edge_hears_that_it_warms_up_and_waits(tmp_path: Path, bundle: Bundle) -> None:
    address = f"127.0.0.1:{free_port()}"
    picture = tmp_path / "a.png"
    Image.new("RGB", (32, 32)).save(picture)
    with starting_cloud(tmp_path, [bundle.path], "--listen", address, module=STALLED_CLOUD) as (_, log):
        wait_for(lambda: STALLED in log.read_text(), "the warm-up")
        run = run_edge("--bundle", str(bundle.path), "--cloud", address, "--images", str(picture), "--deadline", "1")
    assert run.code == 5
    waiting, error = run.err.splitlines()
    assert f"no stream to {address} (warming up: " in waiting
    assert "waiting up to 6 s for a cloud to start (--start-deadline)" in waiting
    assert f"no cloud at {address} within 6 s" in error


def test_sigterm_while_it_imports_ends_it_as_told(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NUMBER, str(int(signal.SIGTERM)))
    with starting_cloud(tmp_path, [bundle.path], module=SIGNALLED_CLOUD) as (cloud, log):
        assert cloud.wait(DEADLINE) == 0
        assert "Traceback" not in log.read_text()


def test_sigterm_while_one_process_warms_up_ends_all(tmp_path: Path, bundle: Bundle) -> None:
    with half_warm_cloud(tmp_path, bundle) as (cloud, log):
        cloud.send_signal(signal.SIGTERM)
        assert cloud.wait(DEADLINE) == 0
        assert "Traceback" not in log.read_text()


def test_a_process_that_dies_before_all_are_warm_ends_the_others(tmp_path: Path, bundle: Bundle) -> None:
    with half_warm_cloud(tmp_path, bundle) as (cloud, log):
        found = re.search(rf"(\d+) {STALLED}", log.read_text())
        assert found is not None
        os.kill(int(found[1]), signal.SIGKILL)
        assert cloud.wait(DEADLINE) == 1
        assert "ended with -9 before all were ready" in log.read_text()
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("processes", [1, 2])
def test_sighup_while_it_starts_is_heard_when_it_serves(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setenv(NUMBER, str(int(signal.SIGHUP)))
    with cloud_process(tmp_path, [bundle.path], "--processes", str(processes), module=SIGNALLED_CLOUD) as cloud:
        wait_for(lambda: cloud.log.read_text().count("bundles reloaded") == processes, "all to have looked again")
        cloud.signal(signal.SIGTERM)
        assert cloud.wait() == 0
