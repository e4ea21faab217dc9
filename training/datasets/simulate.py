"""Write sets of simulated events from the pictures of a real set, in the form shared/datasets/simulated.py reads.

`cifar10dvs-sim` takes the first 900 training and 100 test pictures of each class of CIFAR-10, as many as CIFAR10-DVS
has recordings; the others take all pictures of their set. The parts of the pictures' set are kept apart. Sets called
`...-sim` are of a simulated camera (`training/event_simulation.py`), those called `...-i2e` of the method I2E
(`training/image_to_events.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.datasets import Binning, Part, Pixels, load_split
from shared.datasets.base import OnProgress
from shared.datasets.events import bin_events
from shared.datasets.registry import list_pieces, make_request
from shared.datasets.simulated import RECORDINGS, file_name
from shared.errors import SourceError
from shared.pictures import open_picture
from training.event_simulation import CIFAR10_DVS, NCALTECH101, record
from training.image_to_events import SENSITIVITY, TIMES, image_to_events

Picture = NDArray[np.uint8]

CAMERAS = {"cifar10dvs-sim": CIFAR10_DVS, "ncaltech101-sim": NCALTECH101}
I2E_SIDES = {"cifar10-i2e": 128, "digits-i2e": 34}
"""Rows and columns of the events that I2E makes: those of the recordings that a network is to learn afterwards."""

SETS = (*CAMERAS, *I2E_SIDES)
SOURCES = {
    "cifar10dvs-sim": "cifar10",
    "ncaltech101-sim": "caltech101",
    "cifar10-i2e": "cifar10",
    "digits-i2e": "digits",
}
"""The sets of pictures."""

PARTS: tuple[Part, Part] = ("train", "test")


@dataclass(frozen=True)
class SimulationRecipe:
    """What to simulate: side of the frames, how many of them, how binned, seed, and a limit of pictures per class."""

    size: int = 64
    timesteps: int = 10
    binning: Binning = "count"
    seed: int = 0
    per_class: int | None = None


def simulate_set(
    name: str, data: Path, out: Path, recipe: SimulationRecipe, *, workers: int = 1, progress: OnProgress | None = None
) -> Path:
    """Simulate both parts of `name` from the pictures below `data` and write them below `out`.

    Beside the two .npz files lies simulation.json with the camera, or the method, the recipe and "simulated": true. The
    frames do not depend on `workers`.

    Args:
        name: one of `SETS`.
        data: the folder of the data sets.
        out: the folder for the new set's folder.
        recipe: size, timesteps, binning, seed and limit.
        workers: processes.
        progress: called after each picture.

    Returns:
        The folder of the set.

    Raises:
        SourceError: no such simulated set, or the pictures are missing or damaged.
    """
    if name not in SETS:
        raise SourceError(f"{name!r} is no simulated set: known are {', '.join(SETS)}")
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {part: list(_pictures(name, data, part, recipe.per_class)) for part in PARTS}
    total = sum(map(len, pictures.values()))
    done = 0
    for number, part in enumerate(PARTS):
        frames = np.empty((len(pictures[part]), recipe.timesteps, 2, recipe.size, recipe.size), np.uint8)
        job = partial(_simulate, name, recipe, number)
        for index, sample in enumerate(_map(job, [picture for picture, _ in pictures[part]], workers)):
            frames[index] = sample
            done += 1
            if progress is not None:
                progress(done, total)
        labels = np.array([label for _, label in pictures[part]], np.uint8)
        path = folder / file_name(part, recipe.size, recipe.timesteps, recipe.binning)
        unfinished = path.with_suffix(".part.npz")
        np.savez_compressed(unfinished, frames=frames, labels=labels)
        unfinished.replace(path)
    about = {"simulated": True, "name": name, "recipe": asdict(recipe), **_how(name)}
    (folder / "simulation.json").write_text(json.dumps(about, indent=2) + "\n")
    return folder


def _how(name: str) -> dict[str, Any]:
    if name in CAMERAS:
        return {"camera": asdict(CAMERAS[name])}
    return {"method": "I2E", "side": I2E_SIDES[name], "sensitivity": SENSITIVITY}


def _simulate(name: str, recipe: SimulationRecipe, part: int, numbered: tuple[int, Picture | Path]) -> Pixels:
    index, source = numbered
    picture = np.asarray(open_picture(source)).transpose(2, 0, 1) if isinstance(source, Path) else source
    if (side := I2E_SIDES.get(name)) is not None:
        events, span = image_to_events(picture, side), (0, TIMES)
        return bin_events(events, recipe.timesteps, (side, side), size=recipe.size, by=recipe.binning, span=span)
    events, sensor = record(picture, CAMERAS[name], seed=(recipe.seed, part, index))
    return bin_events(events, recipe.timesteps, sensor, size=recipe.size, by=recipe.binning)


def _map(
    job: Callable[[tuple[int, Picture | Path]], Pixels], sources: list[Picture | Path], workers: int
) -> Iterator[Pixels]:
    if workers <= 1:
        yield from map(job, enumerate(sources))
        return
    with ProcessPoolExecutor(min(workers, os.cpu_count() or 1)) as pool:
        yield from pool.map(job, enumerate(sources), chunksize=8)


def _pictures(name: str, data: Path, part: Part, per_class: int | None) -> Iterator[tuple[Picture | Path, int]]:
    """(picture or its file, label), the classes mixed as the set mixes them, at most `per_class` of each."""
    if SOURCES[name] == "caltech101":
        pieces = list_pieces(make_request("caltech101", data, part))
        samples: Iterator[tuple[Picture | Path, int]] = ((piece.path, piece.label) for piece in pieces)
        most = per_class
    else:
        split = load_split(SOURCES[name], data, part)
        samples = zip(split.frames, split.labels.tolist(), strict=True)
        official = RECORDINGS[name][part] // 10 if name == "cifar10dvs-sim" else None
        most = per_class if official is None else min(per_class or official, official)
    taken: dict[int, int] = {}
    for source, label in samples:
        taken[label] = taken.get(label, 0) + 1
        if most is None or taken[label] <= most:
            yield source, label
