"""Memory, CPU time and files of several processes on one page."""

from __future__ import annotations

import os
import subprocess
import sys

from prometheus_client import CollectorRegistry, generate_latest

from cloud_server.process_metrics import ProcessMetrics


def test_each_process_has_its_own_series_and_one_that_is_gone_has_none() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    metrics = ProcessMetrics(lambda: {"parent": os.getppid(), "0": os.getpid(), "1": gone.pid})
    (memory,) = (family for family in metrics.collect() if family.name == "process_resident_memory_bytes")
    assert [sample.labels for sample in memory.samples] == [{"process": "parent"}, {"process": "0"}]
    assert all(sample.value > 0 for sample in memory.samples)

    registry = CollectorRegistry()
    registry.register(metrics)
    page = generate_latest(registry).decode()
    assert page.count("# TYPE process_resident_memory_bytes gauge") == 1
    assert "# TYPE process_cpu_seconds_total counter" in page
    assert 'process_cpu_seconds_total{process="0"}' in page
