"""The demo: two processes, one table, nothing left behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from benchmarks.scans import bytes_of, held_out_scans
from tests.support.bundles import make_bundle
from tests.support.edges import ROOT, rename_classes
from tests.support.processes import DEADLINE


def test_the_demo_shows_the_pair_and_ends_by_itself(tmp_path: Path) -> None:
    bundle = rename_classes(make_bundle(tmp_path / "bundle", threshold=0.5), tuple("0123456789"))
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.demo", "--bundle", str(bundle.path), "--limit", "12"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert len(re.findall(r"^(right|wrong)  digits/test/\d", run.stdout, re.MULTILINE)) == 10
    for figure in (
        "accuracy with early exit", "accuracy at full T", "mean timesteps", "payload bytes per sample",
        "float32 feature map", "packed spikes", "as PNG", "as JPEG", "latency p50 / p99",
    ):  # fmt: skip
        assert figure in run.stdout
    shown = re.search(r"as PNG : bytes sent.*\((\d+) bytes\)", run.stdout)
    assert shown is not None
    assert int(shown[1]) == round(bytes_of(held_out_scans()[:12])["png"])
    pages = re.findall(r"http://127\.0\.0\.1:\d+/metrics", run.stderr)
    assert len(set(pages)) == 2
    cloud = re.search(r"cloud ready at (\S+),", run.stderr)
    assert cloud is not None
    assert not _listening(cloud[1])


def _listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
