"""Does it help to keep the membranes from window to window of a stream that does not end?

    python -m benchmarks.events.carry_state --data DIR [--bundle models/vgg16-nmnist]

Real N-MNIST recordings, joined to one stream and cut into windows; the network is told of no border between two digits.
Compared are membranes that begin again with each window, as they do in the pair, also where windows overlap; membranes
that are kept for ever; and, for what could be gained at best, membranes that are kept within a recording. Decision 28
has what came out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_client.inputs.cuts import cuts
from edge_client.inputs.recordings import RecordingReader
from edge_client.windows import Window
from shared.bundle import Bundle
from shared.datasets.event_files import read_events
from shared.datasets.event_type import Events
from shared.models.load import load_network

KEEP = ("never", "within a recording", "always")
SEED = 0
WINDOWS = ("count:500", "count:2000", "time:50", "time:100", "time:300/50")


def measure(bundle: Bundle, recordings: Sequence[Path], window: Window) -> dict[str, Any]:
    """Accuracy of the windows, and of the last window of each recording, for each way to keep membranes.

    A window is right if it is answered with the digit of its last event. Membranes are kept only where windows do not
    overlap: else they would see events twice.
    """
    reader, names = RecordingReader(bundle.manifest), bundle.manifest.class_names
    _, height, width = bundle.manifest.network.input_shape
    stream, starts, labels = _joined(recordings, names)
    samples: list[tuple[Tensor, int]] = []
    for cut in cuts(stream, window):
        owner = int(np.searchsorted(starts, cut.events["t"][-1], side="right")) - 1
        samples.append((_normalised(bundle, reader.frames(cut, (height, width))), owner))
    owners = [owner for _, owner in samples]
    lasts = [owner != after for owner, after in zip(owners, [*owners[1:], None], strict=True)]
    found: dict[str, Any] = {}
    for keep in KEEP if window.stride >= window.length else KEEP[:1]:
        right = np.array(_answers(bundle, samples, keep)) == np.array([labels[owner] for owner in owners])
        found[keep] = {"accuracy": float(right.mean()), "accuracy_of_last_windows": float(right[lasts].mean())}
    return {"window": str(window), "recordings": len(recordings), "windows": len(samples), "kept": found}


def _joined(recordings: Sequence[Path], names: Sequence[str]) -> tuple[Events, NDArray[np.int64], list[int]]:
    """One stream of all recordings in a random order; when each begins in it, us, and its class."""
    parts, starts, labels, now = [], [], [], 0
    for place in np.random.default_rng(SEED).permutation(len(recordings)):
        path = recordings[place]
        events = read_events(path).copy()
        events["t"] += now - events["t"][0]
        parts.append(events)
        starts.append(now)
        labels.append(names.index(path.parent.name))
        now = int(events["t"][-1]) + 1
    return np.concatenate(parts), np.array(starts), labels


def _answers(bundle: Bundle, samples: Sequence[tuple[Tensor, int]], keep: str) -> list[int]:
    """The class of each window: frames [T, 1, C, H, W] and the number of the recording that it ends in."""
    network = load_network(bundle)
    answers: list[int] = []
    edge = cloud = before = None
    with torch.inference_mode():
        for frames, owner in samples:
            begin = keep == "never" or (keep == "within a recording" and owner != before)
            if begin or edge is None or cloud is None:
                edge, cloud = network.edge.initial_state(1), network.cloud.initial_state(1)
            spikes, edge = network.edge(network.edge.embed(frames), edge)
            logits, cloud = network.cloud(spikes, cloud)
            answers.append(int(logits.mean(0).argmax()))
            before = owner
    return answers


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
    for window in windows:
        click.echo(json.dumps(measure(opened, recordings, Window.parse(window))))


if __name__ == "__main__":
    main()
