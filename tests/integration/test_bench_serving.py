"""`neucodex-bench serving --quick` from end to end: real clouds, a real fleet, a record, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.bundles import make_bundle
from tests.support.edges import ROOT, rename_classes
from tests.support.graphs import with_tail_step

LIMIT_S = 180.0
"""It takes some 10 s on two free cores."""


def test_the_serving_benchmark_runs_and_leaves_a_record(tmp_path: Path) -> None:
    bundle = with_tail_step(rename_classes(make_bundle(tmp_path / "bundle"), tuple("0123456789")))
    out = tmp_path / "record"
    command = ["-m", "benchmarks", "serving", "--quick", "--bundle", str(bundle.path), "--out", str(out)]
    run = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    record = json.loads((out / "record.json").read_text())
    results = record["results"]
    assert [row["streams"] for row in results["throughput"]] == [1, 4]
    for row in results["throughput"]:
        assert row["steps_per_second"]["median"] > 0
        assert row["ratio"]["median"] > 0
        assert row["rejections"] == 0
        assert row["last_round"]["stage_us"]["tail"] > 0
    assert results["alone"]["last_round"]["mean_batch"] == 1.0
    assert results["throughput"][1]["mean_batch"]["median"] > 1.0
    assert results["crowd"]["served"] == results["crowd"]["open_at_once"] == results["crowd"]["streams"]
    assert results["same_answers"]["predictions_differ"] == 0
    assert results["same_answers"]["largest_confidence_difference"] < 1e-5
    assert results["one_stream"]["echo_us"]["p50"] > 0
    assert results["offered"]["queue_in_steps"]["p99"] > 0
    assert len(record["targets"]) == 8
    assert {target["measured"] for target in record["targets"]} == {None}, "a quick run proves nothing"
    assert not _running(str(bundle.path))


def _running(argument: str) -> list[str]:
    """Processes whose command line names it (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        if argument in line.split("\0"):
            found.append(line)
    return found
