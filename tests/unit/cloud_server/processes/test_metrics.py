"""What several processes count, added up, and memory, CPU time and files of each, on one page."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from cloud_server.processes.metrics import JointMetrics, ProcessMetrics


def counted(folder: Path, pid: int, value: float) -> None:
    """What a process with that number leaves behind."""
    values = MmapedDict(str(folder / f"counter_{pid}.db"))
    values.write_value(mmap_key("frames", "frames_total", [], [], "Frames."), value, 0.0)
    values.close()


def totals(metrics: JointMetrics) -> list[float]:
    return [sample.value for metric in metrics.collect() for sample in metric.samples]


def test_processes_are_added_up(tmp_path: Path) -> None:
    counted(tmp_path, 1, 3.0)
    counted(tmp_path, 2, 4.0)
    assert totals(JointMetrics(tmp_path)) == [7.0]


def test_a_file_made_this_moment_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(tmp_path, 1, 3.0)
    empty = tmp_path / "counter_2.db"
    empty.touch()
    paused = threading.Event()

    def begin_while_it_waits(_: float) -> None:
        if not paused.is_set():
            empty.unlink()
            counted(tmp_path, 2, 4.0)
            paused.set()

    monkeypatch.setattr("cloud_server.processes.metrics.time.sleep", begin_while_it_waits)
    assert totals(JointMetrics(tmp_path)) == [7.0]
    assert paused.is_set()


def test_a_file_that_stays_broken_is_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counter_2.db").touch()
    monkeypatch.setattr("cloud_server.processes.metrics.PAUSE_S", 0.0)
    with pytest.raises(struct.error):
        totals(JointMetrics(tmp_path))


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
