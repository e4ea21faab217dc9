"""Recordings of event cameras by path, as samples: their events binned into the bundle's frames."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.event_options import EventOptions
from edge_client.heads.base import InputArray
from edge_client.inputs.base import FilePart
from edge_client.inputs.cuts import Cut, cuts
from edge_client.inputs.event_filters import filter_recording
from edge_client.windows import Window
from shared.binning import Binning
from shared.datasets.event_collector import Recording
from shared.datasets.event_files import READERS, read_recording
from shared.datasets.event_numbers import NUMBERS
from shared.datasets.event_type import Events, Sensor
from shared.datasets.events import bin_events, extent
from shared.datasets.formats.npz import events_among, read_arrays
from shared.errors import SourceError
from shared.manifest import Manifest
from shared.memory import available_bytes

MEMORY_SHARE = 4
"""By default the events of one recording take at most this part of the memory at hand; sorting them takes it again."""

NO_OPTIONS = EventOptions()

log = logging.getLogger(__name__)


class RecordingReader:
    """Recordings as samples of a bundle.

    Args:
        manifest: of the bundle.
        binning: frames of equal event count, or of equal time.
        sensor: of the camera. None: what the file or its format says; else the bundle's own size where all events lie
            within it; else what the events reach.
        window: how a recording is cut into samples. None: it is one.
        most_bytes: that a recording may take in memory. None: a share of what there is.
        options: region and noise; and whether windows without an event are samples, for a gate to say that they are
            still.

    Raises:
        SourceError: the bundle takes no recordings.
    """

    what = "recording"
    suffixes = frozenset(READERS)

    def __init__(
        self,
        manifest: Manifest,
        binning: Binning = "count",
        sensor: Sensor | None = None,
        window: Window | None = None,
        most_bytes: int | None = None,
        options: EventOptions = NO_OPTIONS,
    ) -> None:
        spec = manifest.network
        if spec.input_kind != "events" or spec.input_shape[0] != 2:
            raise SourceError(f"bundle {manifest.name} takes no recordings of events: use --images or --dataset")
        self.shape = (spec.timesteps, *spec.input_shape)
        self.class_names = manifest.class_names
        self._binning = binning
        self._sensor = sensor
        self._window = window
        self._most_bytes = available_bytes() // MEMORY_SHARE if most_bytes is None else most_bytes
        self._options = options
        self._overridden: set[Sensor] = set()
        self._guessed = False

    def parts(self, path: Path, *, torn: bool = True) -> Iterator[FilePart]:  # noqa: ARG002  of pictures
        """The samples of a recording, see `FileReader`; without a window it is one, named by its path.

        Raises:
            SourceError: it cannot be read, or does not fit.
        """
        if self._window is None:
            yield FilePart(str(path), None, partial(self.read, path))
            return
        recording = self._open(path)
        if not isinstance(recording, Recording):
            raise SourceError(f"{path}: it holds frames, which --window cannot cut")
        yield from self._cut(recording, self._window, path)

    def windows(self, given: Recording | Path, window: Window) -> Iterator[FilePart]:
        """The samples of a recording or of its file, cut as `window` says instead of this reader's own.

        Raises:
            SourceError: it cannot be read, or does not fit.
        """
        if isinstance(given, Recording):
            self._tell_and_check(given)
            return self._cut(given, window, "events")
        recording = self._open(given)
        if not isinstance(recording, Recording):
            raise SourceError(f"{given}: it holds frames, which no window can cut")
        return self._cut(recording, window, given)

    def read(self, path: Path) -> InputArray:
        """uint8 [T, 2, H, W] of a whole recording; an .npz file may also hold the frames themselves.

        Raises:
            SourceError: it cannot be read, or does not fit.
        """
        recording = self._open(path)
        if not isinstance(recording, Recording):
            return recording
        events, sensor = self._filtered(recording, path)
        (cut,) = cuts(events, None)
        return self._bin_named(path, cut, sensor)

    def recording(self, path: Path) -> tuple[Recording, Sensor]:
        """The events of a recording as they are, and (height, width) of its camera.

        Raises:
            SourceError: it cannot be read, or holds frames instead.
        """
        recording = self._open(path)
        if not isinstance(recording, Recording):
            raise SourceError(f"{path}: it holds frames, no events")
        return recording, self._sensor_of(recording, path)

    def bin(self, recording: Recording) -> InputArray:
        """uint8 [T, 2, H, W] of a recording that does not come from a file.

        Raises:
            SourceError: it holds no events, or they do not fit.
        """
        self._tell_and_check(recording)
        (cut,) = cuts(recording.events, None)
        if not len(cut.events):
            raise SourceError("it holds no events")
        return self.frames(cut, self._sensor_of(recording, "the events"))

    def _cut(self, recording: Recording, window: Window, what: Path | str) -> Iterator[FilePart]:
        events, sensor = self._filtered(recording, what)
        for number, cut in enumerate(cuts(events, window, empty=self._options.skip_still is not None)):
            yield FilePart(f"{what}#{number}", cut.start_us / 1e6, partial(self._bin_named, what, cut, sensor))

    def _tell_and_check(self, recording: Recording) -> None:
        for note in recording.notes:
            log.warning("events: %s", note)
        self._check_times(recording.events)

    def _open(self, path: Path) -> Recording | InputArray:
        """The recording, or the frames of an .npz file, which are taken as they are."""
        if path.suffix.lower() == ".npz":
            arrays = read_arrays(path, self._most_bytes)
            if "x" not in arrays:
                return _frames_among(arrays, path, self.shape)
            recording = events_among(arrays, path, self._most_bytes)
        else:
            recording = read_recording(path, self._most_bytes)
        for note in recording.notes:
            log.warning("%s: %s", path, note)
        try:
            self._check_times(recording.events)
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from None
        return recording

    def _check_times(self, events: Events) -> None:
        """Refuse what has no times, as a file of zeros or whole seconds.

        Raises:
            SourceError: it holds one event again and again, or `time` cannot divide it.
        """
        timesteps = self.shape[0]
        if len(events) <= timesteps:
            return
        lasts = int(events["t"][-1]) - int(events["t"][0])
        if not lasts and (events == events[0]).all():
            raise SourceError(f"it holds one event {len(events):,} times: damaged?")
        if self._binning == "time" and lasts < timesteps:
            raise SourceError(
                f"its {len(events):,} events last {lasts} us, which --binning time cannot divide by {timesteps}: times "
                "are microseconds"
            )

    def _sensor_of(self, recording: Recording, what: Path | str) -> Sensor:
        said, asked = recording.sensor, self._sensor
        if asked and said and asked != said and said not in self._overridden:
            self._overridden.add(said)
            sizes = f"{asked[1]} x {asked[0]} stands for the {said[1]} x {said[0]}"
            log.warning("--sensor: %s pixels that %s says (and others that say the same)", sizes, what)
        if (sensor := asked or said) is not None:
            return sensor
        height, width = self.shape[2:]
        rows, columns = extent(recording.events)
        if rows <= height and columns <= width:
            return height, width
        if not self._guessed:
            self._guessed = True
            log.warning(
                "%s: it does not say the camera's pixels: %d x %d, which its events reach, are taken for them (so with "
                "others that do not say them); --sensor says it",
                what, columns, rows,
            )  # fmt: skip
        return rows, columns

    def _filtered(self, recording: Recording, what: Path | str) -> tuple[Events, Sensor]:
        try:
            return filter_recording(recording.events, self._sensor_of(recording, what), self._options)
        except SourceError as error:
            raise SourceError(f"{what}: {error}") from None

    def _bin_named(self, path: Path | str, cut: Cut, sensor: Sensor) -> InputArray:
        if not len(cut.events) and cut.span is None:
            raise SourceError(f"{path}: it holds no events")
        try:
            return self.frames(cut, sensor)
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from None

    def frames(self, cut: Cut, sensor: Sensor) -> InputArray:
        """uint8 [T, 2, H, W] of a window of a camera of (height, width) pixels.

        Raises:
            SourceError: it does not fit.
        """
        events, span = cut.events, cut.span
        timesteps, _, height, width = self.shape
        if sensor == (height, width):
            return bin_events(events, timesteps, sensor, by=self._binning, span=span)
        if height != width:
            raise SourceError(f"a sensor of {sensor[1]} x {sensor[0]} is not scaled to {width} x {height}, no square")
        return bin_events(events, timesteps, sensor, size=height, by=self._binning, span=span)


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
    # Comparisons with NaN are false; what is out of range is not cast.
    fits = counts.dtype.kind in NUMBERS and bool(np.all((counts >= 0) & (counts <= 255)))
    whole = counts.astype(np.uint8) if fits else None
    if whole is None or not np.array_equal(whole, counts):
        raise SourceError(f"{what}: event counts must be whole numbers in 0..255")
    return whole
