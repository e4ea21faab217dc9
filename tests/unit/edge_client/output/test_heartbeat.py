"""The file whose age says that the edge is alive, and the probe of the image that looks at it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from edge_client.output.heartbeat import beating
from shared.errors import ConfigError
from tests.support.processes import until
from tests.support.prometheus import ROOT


async def test_the_file_is_touched_at_once_and_again(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    with beating(file, every_s=0.01):
        assert file.exists()
        os.utime(file, (0, 0))
        await until(lambda: file.stat().st_mtime > 0, "the next beat")
        beats = asyncio.all_tasks() - {asyncio.current_task()}
    assert len(beats) == 1
    await asyncio.wait(beats)
    assert all(beat.cancelled() for beat in beats), "no beat comes after the end"


async def test_it_beats_in_the_loops_own_thread_so_that_a_loop_that_stands_still_beats_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[int] = []
    touch = Path.touch

    def touched(file: Path) -> None:
        beats.append(threading.get_ident())
        touch(file)

    monkeypatch.setattr(Path, "touch", touched)
    with beating(tmp_path / "heartbeat", every_s=0.01):
        await until(lambda: len(beats) >= 3, "three beats")
    assert set(beats) == {threading.get_ident()}


async def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--heartbeat is .*: it cannot be written"), beating(tmp_path / "no" / "x"):
        pass


@pytest.mark.parametrize(("age_s", "healthy"), [(0, True), (30, True), (120, False), (None, False)])
def test_the_images_probe_asks_for_the_files_age(tmp_path: Path, age_s: float | None, healthy: bool) -> None:
    file = tmp_path / "heartbeat"
    if age_s is not None:
        file.touch()
        os.utime(file, (time.time() - age_s,) * 2)
    check = re.search(r"HEALTHCHECK [^\[]*CMD (\[.*\])", (ROOT / "deploy/edge.Dockerfile").read_text())
    assert check is not None
    command = json.loads(check[1])
    assert not any("python" in word for word in command), "a new interpreter each time is too much for a small machine"
    done = subprocess.run(command, env={**os.environ, "NEUCODEX_HEARTBEAT": str(file)}, check=False)
    assert (done.returncode == 0) == healthy
