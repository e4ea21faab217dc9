"""Recordings of event cameras by path, as samples: their events binned into the bundle's frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.heads.base import InputArray
from edge_client.inference.sample import Sample
from edge_client.inputs.files import written_at
from shared.binning import Binning
from shared.datasets.event_files import DVS128, READERS, events_among, read_arrays, read_events
from shared.datasets.events import NUMBERS, Events, bin_events, extent
from shared.errors import SourceError
from shared.manifest import Manifest

Sensor = tuple[int, int]
"""(height, width) of a camera in pixels."""


class RecordingReader:
    """Recordings as samples of a bundle.

    Args:
        manifest: of the bundle.
        binning: frames of equal event count, or of equal time.
        sensor: of the camera. None: what is known of the format; else the bundle's own size where all events lie within
            it; else what the events reach.

    Raises:
        SourceError: the bundle takes no recordings.
    """

    what = "recording"
    suffixes = frozenset(READERS)

    def __init__(self, manifest: Manifest, binning: Binning = "count", sensor: Sensor | None = None) -> None:
        spec = manifest.network
        if spec.input_kind != "events" or spec.input_shape[0] != 2:
            raise SourceError(f"bundle {manifest.name} takes no recordings of events: use --images or --dataset")
        self.shape = (spec.timesteps, *spec.input_shape)
        self._binning = binning
        self._sensor = sensor
        self._labels = {name: index for index, name in enumerate(manifest.class_names)}

    def sample(self, number: int, path: Path) -> Sample:
        """The recording as sample `number`, named by its path; its label is the name of the folder that holds it.

        Raises:
            SourceError: it cannot be read, or does not fit.
        """
        label = self._labels.get(path.absolute().parent.name)
        return Sample(number, str(path), label, self.read(path), written_at(path))

    def read(self, path: Path) -> InputArray:
        """uint8 [T, 2, H, W] of a recording; an .npz file may also hold the frames themselves.

        Raises:
            SourceError: it cannot be read, or does not fit.
        """
        suffix = path.suffix.lower()
        if suffix == ".npz":
            arrays = read_arrays(path)
            if "x" not in arrays:
                return _frames_among(arrays, path, self.shape)
            events = events_among(arrays, path)
        else:
            events = read_events(path)
        try:
            return self.bin(events, (DVS128, DVS128) if suffix == ".aedat" else None)
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from None

    def bin(self, events: Events, known: Sensor | None = None) -> InputArray:
        """uint8 [T, 2, H, W] of events; `known` is the sensor that the format implies.

        Raises:
            SourceError: there are none, or they do not fit.
        """
        if not len(events):
            raise SourceError("it holds no events")
        timesteps, _, height, width = self.shape
        rows, columns = extent(events)
        sensor = self._sensor or known
        if sensor is None:
            sensor = (height, width) if rows <= height and columns <= width else (rows, columns)
        if sensor == (height, width):
            return bin_events(events, timesteps, sensor, by=self._binning)
        if height != width:
            raise SourceError(f"a sensor of {sensor[1]} x {sensor[0]} is not scaled to {width} x {height}, no square")
        return bin_events(events, timesteps, sensor, size=height, by=self._binning)


def _frames_among(arrays: Mapping[str, NDArray[Any]], path: Path, shape: tuple[int, ...]) -> InputArray:
    """The one array of `shape`."""
    fitting = [name for name, array in arrays.items() if array.shape == shape]
    if len(fitting) != 1:
        there = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "nothing"
        raise SourceError(
            f"{path}: expected either events as x, y, t and polarity, or one array of frames {list(shape)}; it "
            f"holds {there}"
        )
    return whole_counts(arrays[fitting[0]], f"{path}: {fitting[0]}")


def whole_counts(counts: NDArray[Any], what: str) -> InputArray:
    """Event counts as uint8.

    Raises:
        SourceError: they are no whole numbers in 0..255.
    """
    whole = counts.astype(np.uint8) if counts.dtype.kind in NUMBERS else None
    if whole is None or not np.array_equal(whole, counts):
        raise SourceError(f"{what}: event counts must be whole numbers in 0..255")
    return whole
