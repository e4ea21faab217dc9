from __future__ import annotations

import numpy as np
import pytest

from edge_client.inputs.live_events.buffer import SAY_EVERY_S, LiveWindow, WindowBuffer
from edge_client.inputs.live_events.counts import CountsAsMetrics, StreamCounts
from shared.errors import SourceError
from shared.metric_table import EDGE_METRICS, EVENT_STREAM_COUNTS
from shared.metrics import Metrics


def window(number: int) -> LiveWindow:
    return LiveWindow(f"x#{number}", None, np.zeros((1, 2, 1, 1), np.uint8), 0.0, 0.0)


def test_the_oldest_is_dropped_and_that_is_said_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now, counts = [0.0], StreamCounts()
    buffer = WindowBuffer(2, counts, clock=lambda: now[0])
    for number in range(50):
        buffer.put(window(number))
        now[0] += SAY_EVERY_S / 20
    buffer.end()
    assert [item and item.name for item in (buffer.get(), buffer.get(), buffer.get())] == ["x#48", "x#49", None]
    assert counts.dropped_windows == 48
    lines = [record.message for record in caplog.records]
    assert len(lines) == 4
    assert sum(int(line.split(": ")[1].split()[0]) for line in lines) == 48


def test_an_error_comes_after_what_waits() -> None:
    buffer = WindowBuffer(2, StreamCounts())
    buffer.put(window(0))
    buffer.end(SourceError("gone"))
    assert buffer.get() is not None
    with pytest.raises(SourceError, match="gone"):
        buffer.get()


def test_counts_become_metrics_once() -> None:
    assert tuple(StreamCounts().as_dict()) == EVENT_STREAM_COUNTS
    counts, metrics = StreamCounts(events=5), Metrics(EDGE_METRICS, {"class": ()}, fixed={"bundle": "b"})
    told = CountsAsMetrics(counts, metrics)
    for events in (5, 5, 8):
        counts.events = events
        told.tell()
    labels = {"what": "events", "bundle": "b"}
    assert metrics.registry.get_sample_value("neucodex_edge_event_stream_total", labels) == 8
