"""dv-processing's own server, and what is said where no camera is."""

from __future__ import annotations

import socket
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.processes import start
from edge_client.inputs.live_events.cameras import DvFeed, FaeryFeed
from edge_client.link.backoff import Backoff
from shared.errors import ConfigError, SourceError
from tests.unit.shared.datasets.made import made

pytest.importorskip("dv_processing")

SOON = Backoff(first_s=0.05, longest_s=0.05)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_events_of_a_network_stream_that_comes_later() -> None:
    events, port = made(500), free_port()
    feed = DvFeed(f"dv://127.0.0.1:{port}", ("127.0.0.1", port), SOON)
    batches = feed.batches()
    assert next(batches) is None  # nobody sends yet
    found = []
    sender: subprocess.Popen[bytes] = start(["tests.support.dv_sender", str(port)])
    try:
        for batch in batches:
            if batch is not None:
                found.append(batch)
                if sum(map(len, found)) == len(events):
                    break
            assert sender.poll() is None
    finally:
        feed.close()
        sender.kill()
        sender.wait()
    assert feed.sensor == (34, 34)
    for name in ("x", "y", "polarity"):
        np.testing.assert_array_equal(np.concatenate([getattr(batch, name) for batch in found]), events[name], name)
    t = np.concatenate([batch.t for batch in found if batch.t is not None])
    np.testing.assert_array_equal(t - t[0], events["t"])


def test_no_camera_is_said() -> None:
    with pytest.raises(SourceError, match="--events camera:dv: dv-processing finds no camera"):
        DvFeed("camera:dv")


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faery", None)
    with pytest.raises(ConfigError, match=r"this needs faery: pip install '.\[faery\]'"):
        FaeryFeed("camera:faery")
