"""A sanity check with a real sensor: the ten DVS128 Gesture clips, cut into windows, each window left out in turn.

    python -m benchmarks.events.gestures --data DIR      (DIR/events/samples holds dvs128gesture_class01.bin, ...)

One clip of each class is no test of gestures: windows of one clip are alike, so what is found is whether windows of one
clip can be told from those of the others at all. A ridge regression on frames of counts stands for a network, which a
hundred windows could not train. The window's neighbours in its clip are left out of the training with it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier

from edge_client.inputs.cuts import cuts
from edge_client.windows import Window
from shared.datasets.event_files import read_events
from shared.datasets.events import bin_events
from shared.errors import SourceError

SENSOR = (128, 128)
SIDE, TIMESTEPS = 16, 4
GAP = 1
"""Windows on each side of the one that is left out, which are left out of the training, too."""


def windows_of(folder: Path, window: Window) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Frames of counts [n, T * 2 * side * side], the clip of each window, and its place in it.

    Raises:
        SourceError: there are no clips.
    """
    frames, clips, places = [], [], []
    paths = sorted(folder.glob("dvs128gesture_class*.bin"))
    if not paths:
        raise SourceError(f"{folder} holds no dvs128gesture_class*.bin")
    for clip, path in enumerate(paths):
        for place, cut in enumerate(cuts(read_events(path), window)):
            counts = bin_events(cut.events, TIMESTEPS, SENSOR, size=SIDE).astype(np.float64).ravel()
            frames.append(np.sqrt(counts / max(counts.sum(), 1.0)))
            clips.append(clip)
            places.append(place)
    return np.stack(frames), np.array(clips), np.array(places)


def leave_one_out(window: Window, folder: Path) -> dict[str, Any]:
    """The share of windows whose clip is found by those further away, and chance."""
    frames, clips, places = windows_of(folder, window)
    right = []
    for out in range(len(frames)):
        near = (clips == clips[out]) & (np.abs(places - places[out]) <= GAP)
        model = RidgeClassifier(alpha=1.0).fit(frames[~near], clips[~near])
        right.append(int(model.predict(frames[out : out + 1])[0]) == clips[out])
    return {
        "window": str(window),
        "windows": len(frames),
        "clips": int(clips.max()) + 1,
        "accuracy": float(np.mean(right)),
        "chance": float(np.bincount(clips).max() / len(clips)),
        "said": "one real clip of each class: a sanity check of the sensor's path, no measure of gesture recognition",
    }


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--window", default="time:100")
def main(data: Path, window: str) -> None:
    """Print what came out as a line of JSON."""
    click.echo(json.dumps(leave_one_out(Window.parse(window), data / "events" / "samples")))


if __name__ == "__main__":
    main()
