"""An edge and a cloud in processes where torch cannot be imported, on the bundle that ships, in both executions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.edges import EdgeRun
from tests.support.processes import DEADLINE, CloudProcess, cloud_process

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models/resnet18-digits"

EDGE = """
import sys
for name in ("torch", "snntorch", "onnx", "scipy"):
    sys.modules[name] = None  # importing it raises
from edge_client.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    folder = tmp_path_factory.mktemp("cloud")
    with cloud_process(folder, [DIGITS], "--execution", "all", module="tests.support.torch_free_cloud") as running:
        yield running


def classify(cloud: str, *flags: str, torch: bool) -> EdgeRun:
    start = ["-m", "edge_client"] if torch else ["-c", EDGE]
    pair = ["--bundle", str(DIGITS), "--cloud", cloud, "--insecure"]
    done = subprocess.run(
        [sys.executable, *start, "classify", *pair, "--dataset", "digits", "--limit", "60", "--json", *flags],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=DEADLINE,
        check=False,
    )
    return EdgeRun(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("execution", ["rate", "spiking"])
def test_it_answers_as_the_edge_with_torch_does(cloud: CloudProcess, execution: str) -> None:
    with_torch, without = (("--runtime", runtime, "--execution", execution) for runtime in ("torch", "onnx"))
    runs = [classify(cloud.listen, *with_torch, torch=True), classify(cloud.listen, *without, torch=False)]
    for run in runs:
        assert run.code == 0, run.err
        assert len(run.lines) == 60
    same = ("sample", "label", "prediction", "confidence", "timesteps", "payload_bytes", "answered_by")
    first, second = ([{name: line[name] for name in same} for line in run.lines] for run in runs)
    for one, other in zip(first, second, strict=True):
        # The same spikes; the cloud may have stepped them in batches of another size.
        assert one.pop("confidence") == pytest.approx(other.pop("confidence"), abs=1e-4)
        assert one == other
    assert json.loads(runs[1].out.splitlines()[-1])["summary"]["accuracy"] > 0.9


def test_without_a_cloud_it_answers_by_itself() -> None:
    run = classify("127.0.0.1:1", "--on-loss", "fallback", "--fallback-after", "0.1", torch=False)
    assert run.code == 0, run.err
    assert {line["answered_by"] for line in run.lines} == {"edge"}
    assert sum(line["payload_bytes"] for line in run.lines) == 0
    assert run.summary["accuracy"] > 0.9


def test_torch_is_named_when_it_is_asked_for(cloud: CloudProcess) -> None:
    run = classify(cloud.listen, "--runtime", "torch", torch=False)
    assert run.code == 2
    assert "--runtime torch needs torch: pip install '.[edge-torch]' in a checkout" in run.err
    assert "Traceback" not in run.err
