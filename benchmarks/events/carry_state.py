"""Does it help to keep the membranes from window to window of a stream that does not end?

    python -m benchmarks.events.carry_state --data DIR [--bundle models/vgg16-nmnist]

Real N-MNIST recordings, one after the other, cut into windows; the network is told of no border between two digits.
Compared are membranes that begin again with each window, as they do in the pair; membranes that are always kept; and,
for what could be gained at best, membranes that are kept within a recording. Windows that overlap are cut from one
joined stream, as a camera's are, and begin with fresh membranes. Decision 28 has what came out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from edge_client.inputs.cuts import cuts
from edge_client.inputs.recordings import RecordingReader
from edge_client.windows import Window
from shared.bundle import Bundle
from shared.datasets.event_files import read_events
from shared.models.load import load_network

KEEP = ("never", "within a recording", "always")
SEED = 0
WINDOWS = ("count:500", "count:2000", "time:50", "time:100", "time:300/50")


def measure(bundle: Bundle, recordings: Sequence[Path], window: Window) -> dict[str, Any]:
    """Accuracy of the windows, and of the last window of each recording, for each way to keep membranes."""
    reader, names = RecordingReader(bundle.manifest), bundle.manifest.class_names
    _, height, width = bundle.manifest.network.input_shape
    order = np.random.default_rng(SEED).permutation(len(recordings))
    stream: list[tuple[list[Tensor], int]] = []
    for place in order:
        path = recordings[place]
        frames = [reader.frames(cut, (height, width)) for cut in cuts(read_events(path), window)]
        stream.append(([_normalised(bundle, each) for each in frames], names.index(path.parent.name)))
    network = load_network(bundle)
    found: dict[str, Any] = {}
    for keep in KEEP:
        right, last = [], []
        edge = cloud = None
        with torch.inference_mode():
            for windows, label in stream:
                if keep != "always":
                    edge = cloud = None
                for frames_of in windows:
                    if keep == "never" or edge is None or cloud is None:
                        edge, cloud = network.edge.initial_state(1), network.cloud.initial_state(1)
                    spikes, edge = network.edge(network.edge.embed(frames_of), edge)
                    logits, cloud = network.cloud(spikes, cloud)
                    right.append(int(logits.mean(0).argmax()) == label)
                last.append(right[-1])
        found[keep] = {"accuracy": float(np.mean(right)), "accuracy_of_last_windows": float(np.mean(last))}
    return {"window": str(window), "recordings": len(stream), "windows": sum(len(w) for w, _ in stream), "kept": found}


def measure_overlapping(bundle: Bundle, recordings: Sequence[Path], window: Window) -> dict[str, Any]:
    """Accuracy of overlapping windows, as the digit of their last event, and of the last one within each recording."""
    reader, names = RecordingReader(bundle.manifest), bundle.manifest.class_names
    _, height, width = bundle.manifest.network.input_shape
    parts, starts, labels, now = [], [], [], 0
    for place in np.random.default_rng(SEED).permutation(len(recordings)):
        events = read_events(recordings[place]).copy()
        events["t"] += now - events["t"][0]
        parts.append(events)
        starts.append(now)
        labels.append(names.index(recordings[place].parent.name))
        now = int(events["t"][-1]) + 1
    network, right, owners = load_network(bundle), [], []
    with torch.inference_mode():
        for cut in cuts(np.concatenate(parts), window):
            owners.append(int(np.searchsorted(starts, cut.events["t"][-1], side="right")) - 1)
            frames = _normalised(bundle, reader.frames(cut, (height, width)))
            spikes, _ = network.edge(network.edge.embed(frames), network.edge.initial_state(1))
            logits, _ = network.cloud(spikes, network.cloud.initial_state(1))
            right.append(int(logits.mean(0).argmax()) == labels[owners[-1]])
    lasts = [owner != after for owner, after in zip(owners, [*owners[1:], None], strict=True)]
    found = {"accuracy": float(np.mean(right)), "accuracy_of_last_windows": float(np.array(right)[lasts].mean())}
    return {"window": str(window), "recordings": len(recordings), "windows": len(right), "overlapping": found}


def _normalised(bundle: Bundle, frames: np.ndarray[Any, Any]) -> Tensor:
    how = bundle.manifest.normalisation
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (how.mean, how.std))
    return ((torch.from_numpy(frames).float() * how.scale - mean) / std).unsqueeze(1)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--bundle", type=click.Path(path_type=Path), default=Path("models/vgg16-nmnist"))
@click.option("--window", "windows", multiple=True, default=WINDOWS)
def main(data: Path, bundle: Path, windows: tuple[str, ...]) -> None:
    """Print a line of JSON for each kind of window."""
    torch.set_num_threads(1)
    opened = Bundle.open(bundle, "spiking")
    recordings = sorted((data / "N-MNIST" / "Test").glob("*/*.bin"))
    for window in map(Window.parse, windows):
        chosen = measure if window.stride >= window.length else measure_overlapping
        click.echo(json.dumps(chosen(opened, recordings, window)))


if __name__ == "__main__":
    main()
