"""How many events a second one core takes from datagrams to frames, in the steps that the edge runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.events.live import at_pace
from benchmarks.events.sender import datagrams
from edge_client.event_options import EventOptions
from edge_client.inputs.live_events.counts import StreamCounts
from edge_client.inputs.live_events.forms import decode_datagrams
from edge_client.inputs.live_events.windows import LiveWindows
from edge_client.windows import Window
from shared.datasets.events import bin_events

COUNT = 2_000_000
PACE = 2_000_000
DATAGRAMS_TOGETHER = 128
SENSOR = (34, 34)
TIMESTEPS = 4
RUNS = 3


def measure_throughput(recordings: Sequence[Path], count: int = COUNT) -> dict[str, Any]:
    """Millions of events for each second of CPU time: SPIF of 8 bytes decoded, cut into windows of 50 ms, binned."""
    sent = list(datagrams(at_pace(recordings, count, PACE), "spif8"))
    found: dict[str, Any] = {"events": count, "form": "spif8", "window_ms": 50, "runs": RUNS}
    for name, options in (("plain", EventOptions()), ("denoised", EventOptions(denoise=2.0))):
        rates = sorted(_rate(sent, count, options) for _ in range(RUNS))
        found[name] = {"mev_per_cpu_s": rates[RUNS // 2], "of_runs": rates}
    return found


def _rate(sent: Sequence[bytes], count: int, options: EventOptions) -> float:
    windows = LiveWindows("x", Window("time", 50_000, 50_000), SENSOR, options, 32, StreamCounts())
    began = time.process_time()
    for low in range(0, len(sent), DATAGRAMS_TOGETHER):
        for batch in decode_datagrams("spif", sent[low : low + DATAGRAMS_TOGETHER]):
            assert not isinstance(batch, int)
            for cut in windows.take(batch):
                bin_events(cut.events, TIMESTEPS, SENSOR)
    return count / (time.process_time() - began) / 1e6
