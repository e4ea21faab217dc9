"""`neucodex-bench testbed --quick` with the embedded bundle: real processes, and a record that adds up."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main_group
from benchmarks.links import namespaces, tun
from benchmarks.testbed.plan import ALTERNATIVES, QUICK
from benchmarks.testbed.processes import EdgeWorkerProcess
from benchmarks.testbed.samples_file import read_testbed
from benchmarks.testbed.schema import CLOUD, EDGE, PARTS, Testbed

N = 12


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> tuple[Testbed, dict[str, object]]:
    out = tmp_path_factory.mktemp("testbed")
    done = CliRunner().invoke(main_group, ["testbed", "--quick", "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    written = json.loads((out / "record.json").read_text())
    return read_testbed(written["results"], out), written


def test_every_alternative_of_quick_answers_every_picture(record: tuple[Testbed, dict[str, object]]) -> None:
    found, _ = record
    assert found.passed_over == ()
    assert tuple(run.alternative for run in found.runs) == QUICK
    for run in found.runs:
        columns = found.columns[run.key]
        assert run.n == len(columns) == N
        assert list(columns.sample) == list(range(N))
        assert columns.right.mean() == pytest.approx(run.accuracy.mean, abs=1e-6)
        # Trained on digits: chance would be one in ten.
        assert columns.right.mean() > 0.5


def test_the_parts_of_a_latency_add_up_to_it(record: tuple[Testbed, dict[str, object]]) -> None:
    found, _ = record
    for columns in found.columns.values():
        parts = np.sum([np.nan_to_num(getattr(columns, part)) for part in PARTS], axis=0)
        np.testing.assert_allclose(parts, columns.latency_ms, rtol=1e-3)


def test_bytes_and_operations_are_those_of_the_alternative(record: tuple[Testbed, dict[str, object]]) -> None:
    found, _ = record
    columns = {run.alternative: found.columns[run.key] for run in found.runs}
    network = found.networks["uncompressed"]
    bytes_of_float32 = 4 * np.prod(network.split_shape)
    np.testing.assert_array_equal(
        columns["split-float32"].payload_bytes, bytes_of_float32 * columns["split-float32"].timesteps
    )
    assert (columns["full"].payload_bytes < columns["split-packed"].payload_bytes).all()
    for name in ("edge-only", "fallback"):
        assert not columns[name].payload_bytes.any()
        assert not np.nan_to_num(columns[name].radio_j).any()
        assert (columns[name].answered_by == EDGE).all()
    assert (columns["jpeg-90"].answered_by == CLOUD).all()
    assert not columns["jpeg-90"].accumulates.any()
    assert (columns["full"].accumulates < columns["edge-only"].accumulates).all()
    assert (columns["edge-only"].timesteps == network.timesteps).all()


def test_features_as_float32_and_packed_give_the_same_answers(record: tuple[Testbed, dict[str, object]]) -> None:
    found, _ = record
    packed, floats, exits = (
        found.columns[run.key]
        for name in ("split-packed", "split-float32", "edge-only-exit")
        if (run := found.run(name)) is not None
    )
    for other in (packed, exits):
        np.testing.assert_array_equal(other.predicted, floats.predicted)
        np.testing.assert_array_equal(other.timesteps, floats.timesteps)


@pytest.mark.skipif(
    namespaces.missing() is not None or tun.missing() is not None, reason="namespaces or /dev/net/tun are not to be had"
)
def test_bytes_on_the_link_are_counted_with_their_headers(record: tuple[Testbed, dict[str, object]]) -> None:
    found, _ = record
    (link,) = found.links
    assert (link.means, link.counts_headers) == ("cable", True)
    assert link.rtt_ms is not None
    run = found.run("split-float32")
    assert run is not None
    columns = found.columns[run.key]
    # 40 bytes of TCP/IP for each 1,460, at least.
    assert (columns.link_up_bytes > columns.message_bytes * 1.02).all()
    assert (columns.link_down_bytes > 0).all()


def test_each_figure_that_is_asked_for_stands_among_the_targets(record: tuple[Testbed, dict[str, object]]) -> None:
    _, written = record
    targets = written["targets"]
    assert isinstance(targets, list)
    names = " | ".join(target["name"] for target in targets)
    for part in (
        "float32",
        "payload bytes than JPEG q90",
        "on the link than JPEG q90",
        "accurate",
        "edge only",
        "energy",
    ):
        assert part in names
    ratio = next(target for target in targets if "float32" in target["name"])
    assert ratio["measured"] == 2048.0
    assert ratio["met"] is True


def test_the_local_exit_alone_is_asked_at_each_timestep() -> None:
    bundle = Path(__file__).parents[2] / "models/resnet18-digits"
    (alternative,) = (each for each in ALTERNATIVES if each.name == "fallback")
    job = {"alternative": vars(alternative), "cloud": "", "n": 3, "seconds": 60, "share": 1.0}
    with EdgeWorkerProcess(
        [], sys.executable, ["--bundle", str(bundle), "--dataset", "digits", "--limit", "3"]
    ) as edge:
        edge.wait_ready()
        rows = edge.do(job)
    assert len(rows) == 3
    assert [row["local_exits"] for row in rows] == [row["timesteps"] for row in rows]


def test_an_unknown_link_is_named() -> None:
    done = CliRunner().invoke(main_group, ["testbed", "--quick", "--links", "carrier-pigeon"])
    assert done.exit_code != 0
    assert "carrier-pigeon" in str(done.exception)


def test_the_edge_may_run_behind_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    ssh = bin_folder / "ssh"
    # What ssh does with a command: its words in one line, to a shell on the other side.
    ssh.write_text('#!/bin/sh\ntest "$1" = pi || exit 255\nshift\nexec sh -c "$*"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_folder), prepend=os.pathsep)
    flags = ["testbed", "--quick", "--n", "3", "--out", str(tmp_path / "out"), "--cloud-host", "127.0.0.1"]
    flags += ["--edge-host", f"ssh pi cd {Path.cwd()} &&", "--edge-python", sys.executable]
    flags += ["--alternatives", "full", "--alternatives", "edge-only", "--links", "wifi"]
    done = CliRunner().invoke(main_group, flags, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = read_testbed(json.loads((tmp_path / "out" / "record.json").read_text())["results"], tmp_path / "out")
    assert [edge.means for edge in found.edges] == ["another machine"]
    (link,) = found.links
    assert (link.means, link.counts_headers) == ("real", False)
    assert link.rtt_ms is not None
    full = found.run("full")
    assert full is not None
    assert full.n == 3
    assert full.figures["link_bytes"].mean is None, "no interface was named, so nothing was counted"
