"""`neucodex-bench codec --quick` from end to end, on the bundle that ships: sizes, times, a record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.edges import ROOT

LIMIT_S = 180.0
FORMS = {"packed bits", "zstd, dictionary", "positions (varints)", "codec (range-coded)", "codec's choice"}


def test_the_codec_benchmark_runs_and_leaves_a_record(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "codec", "--quick", "--limit", "60", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["n"]["test samples"] == 60
    sizes = record["results"]["bytes of a frame"]["mean"]
    assert set(sizes) >= FORMS
    # Sizes do not hang on the machine: these goals hold wherever the test runs.
    targets = {target["name"]: target for target in record["targets"]}
    for name in (
        "payload below the best of packed bits, zstd with dictionary, varints",
        "payload over the frames' zero-order entropy",
    ):
        assert targets[name]["met"] is True, targets[name]
    for name in ("encode, 1,024 positions", "decode, 1,024 positions"):
        assert targets[name]["measured"] is None
        assert "--quick" in targets[name]["note"]
