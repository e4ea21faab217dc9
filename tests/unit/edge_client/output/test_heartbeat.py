"""The file whose age says that the edge is alive, and the probe of the image that looks at it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from edge_client.output.heartbeat import beating
from shared.errors import ConfigError
from tests.support.processes import DEADLINE
from tests.support.prometheus import ROOT


async def test_the_file_is_touched_at_once_and_again(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    with beating(file, every_s=0.01):
        assert file.exists()
        os.utime(file, (0, 0))
        async with asyncio.timeout(DEADLINE):
            while file.stat().st_mtime == 0:  # noqa: ASYNC110  there is no event for what others write
                await asyncio.sleep(0.001)
    os.utime(file, (0, 0))
    await asyncio.sleep(0.05)
    assert file.stat().st_mtime == 0


async def test_a_loop_that_stands_still_beats_no_more(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    with beating(file, every_s=0.01):
        os.utime(file, (0, 0))
        time.sleep(0.05)  # noqa: ASYNC251  what is to be seen
        assert file.stat().st_mtime == 0


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
