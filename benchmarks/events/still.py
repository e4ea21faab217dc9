"""What `--skip-still` saves and misses on real recordings with silence between them.

N-MNIST's recordings last 0.3 s; between two of them there is a pause without an event, which is ours. Windows of 50 ms
are classified by the whole network, with the verdict that the pair gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.testbed.whole_network import WholeNetwork
from edge_client.inputs.cuts import cuts
from edge_client.inputs.recordings import RecordingReader
from edge_client.inputs.still import share_changed
from edge_client.windows import Window
from shared.bundle import Bundle
from shared.datasets.event_files import read_events

WINDOW = Window("time", 50_000, 50_000)
PAUSE_US = 600_000
SHARES = (0.01, 0.02, 0.05, 0.1)
MOST = 40
"""Recordings: each is 18 windows."""


def measure_still(bundle: Bundle, recordings: Sequence[Path]) -> dict[str, Any]:
    """For each share of changed pixels: windows that are still, and how many of them were right without the gate."""
    network, reader = WholeNetwork(bundle, 1), RecordingReader(bundle.manifest)
    _, _, height, width = bundle.manifest.network.sample_shape
    names = bundle.manifest.class_names
    step = max(1, len(recordings) // MOST)
    parts, begins, offset = [], [], 0
    for path in recordings[::step]:
        events = read_events(path)
        events["t"] += offset - events["t"][0]
        begins.append((int(events["t"][0]), names.index(path.parent.name)))
        offset = int(events["t"][-1]) + PAUSE_US
        parts.append(events)
    found = []
    for cut in cuts(np.concatenate(parts), WINDOW, empty=True):
        frames = reader.frames(cut, (height, width))
        label = next(label for begin, label in reversed(begins) if begin < cut.start_us + WINDOW.length)
        right = len(cut.events) > 0 and int(network.classify(frames, early_exit=True)[-1].argmax()) == label
        found.append((share_changed(frames, None), len(cut.events) > 0, right))
    changed, moving, right = (np.array(column) for column in zip(*found, strict=True))
    gates = []
    for share in SHARES:
        still = changed < share
        gates.append(
            {
                "skip_still": share,
                "still": int(still.sum()),
                "still_of_those_with_events": int((still & moving).sum()),
                "right_without_the_gate_of_the_still": int((still & right).sum()),
                "accuracy_of_the_others": float(right[~still].mean()) if (~still).any() else None,
            }
        )
    return {
        "made_of": "real N-MNIST recordings, with pauses of our own between them",
        "recordings": len(parts),
        "window_ms": WINDOW.length / 1e3,
        "pause_ms": PAUSE_US / 1e3,
        "windows": len(found),
        "with_events": int(moving.sum()),
        "accuracy_of_those_with_events": float(right[moving].mean()),
        "gates": gates,
    }
