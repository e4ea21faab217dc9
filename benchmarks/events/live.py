"""A stream at a camera's pace over UDP, with loss, to an edge and its cloud: is each window answered in time?"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.links.profiles import LinkProfile
from benchmarks.processes import CloudProcess, EdgeProcess, start
from benchmarks.testbed.environments import Environment
from shared.bundle import Bundle
from shared.datasets.event_files import read_events
from shared.datasets.event_type import Events
from shared.errors import NeucodexError

EVENTS_A_SECOND = 125_000
LOSS = 0.01
PORT = 33_330
READY_S = 120.0
QUIET_S = 5.0
"""After so long without a verdict all are there: windows that were dropped never come."""


def at_pace(recordings: Sequence[Path], count: int, events_a_second: float) -> Events:
    """Recordings one after the other, again and again, [count], their times made even."""
    parts: list[Events] = []
    have = 0
    while have < count:
        parts.append(read_events(recordings[len(parts) % len(recordings)]))
        have += len(parts[-1])
    events = np.concatenate(parts)[:count]
    events["t"] = np.arange(count) * (1e6 / events_a_second)
    return events


def listening(environment: Environment) -> tuple[str, ...]:
    """Where a cloud listens: namespaces of our own are no place where others could read along."""
    anywhere = () if environment.listen.startswith("127.") else ("--insecure-anywhere",)
    return ("--listen", environment.listen, *anywhere)


def measure_live(
    environment: Environment,
    bundle: Bundle,
    recordings: Sequence[Path],
    link: LinkProfile,
    scratch: Path,
    seconds: float,
    window_ms: int,
) -> dict[str, Any]:
    """How late the verdicts of windows of `window_ms` are, from the arrival of a window's last event."""
    count = int(EVENTS_A_SECOND * seconds)
    stream = at_pace(recordings, count, EVENTS_A_SECOND)
    path = scratch / "stream.npz"
    np.savez(path, x=stream["x"], y=stream["y"], polarity=stream["polarity"], t=stream["t"])
    windows = int(seconds * 1000 // window_ms)
    if environment.edge_prefix:
        subprocess.run([*environment.edge_prefix, "ip", "link", "set", "lo", "up"], check=True)  # noqa: S603
    cloud_log, prefix = scratch / "live.log", environment.cloud_prefix
    with (
        CloudProcess([bundle.path], scratch, *listening(environment), log=cloud_log, prefix=prefix) as cloud,
        environment.link(link, {"cloud": cloud.wait_ready().listen}) as opened,
    ):
        flags = ["--bundle", str(bundle.path), "--cloud", opened.addresses["cloud"], "--power-meter", "none"]
        flags += ["--insecure-anywhere", "--execution", bundle.execution, "--log-level", "info"]
        flags += ["--events", f"udp://127.0.0.1:{PORT}", "--window", f"time:{window_ms}"]
        flags += ["--inflight", "4", "--lookahead", "auto"]
        log = scratch / "live-edge.log"
        with EdgeProcess(flags, log, prefix=environment.edge_prefix) as edge:
            _wait_for("events can come", log)
            sender = ["benchmarks.events.sender", str(path), f"127.0.0.1:{PORT}", "--loss", str(LOSS)]
            if start(sender, prefix=environment.edge_prefix).wait() != 0:
                raise NeucodexError("the sender of the live stream failed")
            _wait_until_quiet(edge)
            edge.process.send_signal(signal.SIGINT)
            summary = edge.wait()
            lines = edge.samples[:windows]
    lateness = [_at(line["time"]) - _at(line["input_time"]) for line in lines if line["input_time"]]
    return {
        "link": link.name,
        "events_a_second": EVENTS_A_SECOND,
        "loss": LOSS,
        "window_ms": window_ms,
        "windows": windows,
        "lost_windows": windows - len(lines),
        "late_windows": sum(late > window_ms / 1e3 for late in lateness),
        "lateness_ms": {str(q): float(np.percentile(lateness, q) * 1e3) for q in (50, 95, 100)} if lateness else {},
        "stream": summary["stream"],
        "payload_bytes_per_window": summary["payload_bytes_per_sample"],
    }


def _at(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _wait_until_quiet(edge: EdgeProcess) -> None:
    """Wait until no more verdicts come."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET_S:
        if len(edge.samples) != count:
            count, since = len(edge.samples), time.monotonic()
        time.sleep(0.1)


def _wait_for(text: str, log: Path) -> None:
    give_up = time.monotonic() + READY_S
    while text not in log.read_text():
        if time.monotonic() > give_up:
            raise NeucodexError(f"the edge was not ready within {READY_S:g} s: {log.read_text().strip()}")
        time.sleep(0.05)
