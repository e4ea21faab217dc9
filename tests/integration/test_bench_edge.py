"""`neucodex-bench edge --quick` on a small bundle: does it run, and is what it says of answers right?"""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from benchmarks.__main__ import main_group
from tests.support.bundles import make_bundle
from tests.support.edges import rename_classes
from tests.support.graphs import with_tail_step


def test_overhead_and_lookahead(tmp_path: Path) -> None:
    bundle = with_tail_step(rename_classes(make_bundle(tmp_path / "bundle", threshold=0.5), tuple("0123456789")))
    flags = ["edge", "--quick", "--bundle", str(bundle.path), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main_group, [*flags, "--only", "overhead", "--only", "lookahead"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    overhead, lookahead = record["results"]["overhead"], record["results"]["lookahead"]
    times = overhead["us per timestep, p10 / p50"]
    assert times["wall"][1] > times["head"][1] + times["tail"][1] > 0.0
    assert set(lookahead["by lookahead"]) == {"1", "2", "3", "4", "auto"}
    assert lookahead["answers that differ from lockstep's"] == 0
    for figures in lookahead["by lookahead"].values():
        assert figures["latency ms p10 / p50 / p90"][0] >= 40.0, "two ways of 20 ms"
    sent = [lookahead["by lookahead"][name]["wire bytes per sample"] for name in "1234"]
    assert sent == sorted(sent)
    assert len(record["targets"]) == 4


def test_an_unknown_measurement_is_named() -> None:
    done = CliRunner().invoke(main_group, ["edge", "--only", "speed"])
    assert done.exit_code == 2
    assert "speed" in done.output
    assert "'overhead', 'lookahead', 'cuts', 'dead-link'" in done.output
