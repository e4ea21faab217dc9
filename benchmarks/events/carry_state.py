"""Does it help to keep the membranes from window to window of a stream that does not end?

    python -m benchmarks.events.carry_state --data DIR [--bundle models/vgg16-nmnist]

Real N-MNIST recordings, one after the other, cut into windows; the network is told of no border between two digits.
Compared are membranes that begin again with each window, as they do in the pair; membranes that are always kept; and,
for what could be gained at best, membranes that are kept within a recording. Windows that overlap are cut from one
joined stream, as a camera's are, and begin with fresh membranes. Decision 28 has what came out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_client.inputs.cuts import Cut, cuts
from edge_client.inputs.recordings import RecordingReader
from edge_client.windows import Window
from shared.bundle import Bundle
from shared.datasets.event_files import read_events
from shared.models.load import load_network
from shared.models.split import SplitNetwork

KEEP = ("never", "within a recording", "always")
SEED = 0
WINDOWS = ("count:500", "count:2000", "time:50", "time:100", "time:300/50")


def measure(bundle: Bundle, recordings: Sequence[Path], window: Window) -> dict[str, Any]:
    """Accuracy of the windows, and of the last window of each recording, for each way to keep membranes.

    Windows that overlap always begin with fresh membranes: kept ones would see events twice.
    """
    reader, names = RecordingReader(bundle.manifest), bundle.manifest.class_names
    _, height, width = bundle.manifest.network.input_shape
    shuffled = [recordings[place] for place in np.random.default_rng(SEED).permutation(len(recordings))]
    overlapping = window.stride < window.length
    windows = list((_of_one_stream if overlapping else _of_each)(shuffled, window))
    frames = [_normalised(bundle, reader.frames(cut, (height, width))) for cut, _ in windows]
    owners = [owner for _, owner in windows]
    labels = np.array([names.index(shuffled[owner].parent.name) for owner in owners])
    lasts = [owner != after for owner, after in zip(owners, [*owners[1:], None], strict=True)]
    network, found = load_network(bundle), dict[str, Any]()
    for keep in KEEP[:1] if overlapping else KEEP:
        right = _answers(network, frames, owners, keep) == labels
        found[keep] = {"accuracy": float(right.mean()), "accuracy_of_last_windows": float(right[lasts].mean())}
    return {"window": str(window), "recordings": len(recordings), "windows": len(windows), "kept": found}


def _of_each(recordings: Sequence[Path], window: Window) -> Iterator[tuple[Cut, int]]:
    """The windows of each recording by itself, and its number."""
    for number, path in enumerate(recordings):
        yield from ((cut, number) for cut in cuts(read_events(path), window))


def _of_one_stream(recordings: Sequence[Path], window: Window) -> Iterator[tuple[Cut, int]]:
    """The windows of all recordings, joined without a pause, and the number of the one with a window's last event."""
    parts, starts, now = [], [], 0
    for path in recordings:
        events = read_events(path).copy()
        events["t"] += now - events["t"][0]
        parts.append(events)
        starts.append(now)
        now = int(events["t"][-1]) + 1
    for cut in cuts(np.concatenate(parts), window):
        yield cut, int(np.searchsorted(starts, cut.events["t"][-1], side="right")) - 1


@torch.inference_mode()
def _answers(network: SplitNetwork, frames: Sequence[Tensor], owners: Sequence[int], keep: str) -> NDArray[np.int64]:
    """The class of each window, of frames [T, 1, C, H, W]; `owners` are the recordings that they belong to."""
    answers: list[int] = []
    edge = cloud = before = None
    for window, owner in zip(frames, owners, strict=True):
        again = keep == "never" or (keep == "within a recording" and owner != before)
        if again or edge is None or cloud is None:
            edge, cloud = network.edge.initial_state(1), network.cloud.initial_state(1)
        spikes, edge = network.edge(network.edge.embed(window), edge)
        logits, cloud = network.cloud(spikes, cloud)
        answers.append(int(logits.mean(0).argmax()))
        before = owner
    return np.array(answers)


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
