"""What `--skip-still` saves and misses on real recordings with silence between them.

N-MNIST's recordings last 0.3 s; between two of them there is a pause without an event, which is ours. Each begins with
a window. Windows are classified by the whole network, with the verdict that the pair gives.
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

PAUSE_US = 700_000
SHARES = (0.01, 0.02, 0.05, 0.1)
MOST = 40
"""Recordings."""


def measure_still(bundle: Bundle, recordings: Sequence[Path], window_ms: int) -> dict[str, Any]:
    """For each share of changed pixels: windows that are still, and how many of them were right without the gate."""
    network, reader = WholeNetwork(bundle, 1), RecordingReader(bundle.manifest)
    _, height, width = bundle.manifest.network.input_shape
    names = bundle.manifest.class_names
    length = window_ms * 1000
    parts, begins, offset = [], [], 0
    for path in recordings[:: max(1, len(recordings) // MOST)]:
        events = read_events(path)
        events["t"] += offset - events["t"][0]
        begins.append((offset, names.index(path.parent.name)))
        parts.append(events)
        offset = -(-(int(events["t"][-1]) + PAUSE_US) // length) * length
    shares, with_events, correct = [], [], []
    for cut in cuts(np.concatenate(parts), Window("time", length, length), empty=True):
        frames = reader.frames(cut, (height, width))
        label = next(label for begin, label in reversed(begins) if begin <= cut.start_us)
        shares.append(share_changed(frames, None))
        with_events.append(len(cut.events) > 0)
        correct.append(with_events[-1] and int(network.classify(frames, early_exit=True)[-1].argmax()) == label)
    changed, moving, right = np.array(shares), np.array(with_events), np.array(correct)
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
        "window_ms": window_ms,
        "pause_ms": PAUSE_US / 1e3,
        "windows": len(changed),
        "with_events": int(moving.sum()),
        "accuracy_of_those_with_events": float(right[moving].mean()),
        "gates": gates,
    }
