"""From what a program has (arrays, Pillow pictures, paths) to the input array that a bundle takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_client.heads.base import InputArray
from edge_client.inputs.base import FilePart
from edge_client.inputs.images import from_array
from edge_client.inputs.pictures import PictureReader
from edge_client.inputs.recordings import RecordingReader, whole_counts
from edge_client.windows import Window
from shared.binning import Binning
from shared.datasets.event_collector import Recording, collect_arrays
from shared.errors import SourceError
from shared.manifest import Manifest
from shared.network_spec import Shape
from shared.picture_fit import PictureFit
from shared.pictures import from_image

if TYPE_CHECKING:
    from PIL.Image import Image

    Input = NDArray[Any] | Image | Path | str


class PictureConverter:
    """For a bundle of pictures; each becomes as large as the manifest's `fit` says."""

    def __init__(self, reader: PictureReader, fit: PictureFit, max_pixels: int | None) -> None:
        self.shape: tuple[int, ...] = reader.shape
        self._shape: Shape = reader.shape
        self._reader = reader
        self._fit = fit
        self._max_pixels = max_pixels

    def pixels(self, given: Input) -> InputArray:
        """uint8 [C, H, W].

        Raises:
            SourceError: it is no picture.
        """
        if isinstance(given, (str, Path)):
            try:
                return self._reader.read(Path(given))
            except SourceError as error:
                raise SourceError(f"{given}: {error}") from None
        _check_unmasked(given)
        if not isinstance(given, np.ndarray):
            if not hasattr(given, "convert"):
                raise SourceError(f"{type(given).__name__} is no picture: give an array, a Pillow picture or a path")
            return from_image(given, self._shape, self._fit, max_pixels=self._max_pixels)
        if given.dtype == np.uint8 and given.shape == self._shape:
            return np.ascontiguousarray(given)
        return from_array(given, self._shape, self._fit)


class RecordingConverter:
    """For a bundle of events."""

    def __init__(self, reader: RecordingReader) -> None:
        self.shape = reader.shape
        self._reader = reader

    def pixels(self, given: Input) -> InputArray:
        """uint8 [T, 2, H, W].

        Raises:
            SourceError: it is no recording, or does not fit.
        """
        if isinstance(given, (str, Path)):
            return self._reader.read(Path(given))
        if not isinstance(given, np.ndarray):
            raise SourceError(f"{type(given).__name__} is no recording: give frames, events or a path")
        _check_unmasked(given)
        if given.dtype.names:
            return self._reader.bin(_events(given))
        if given.shape != self._reader.shape:
            raise SourceError(
                f"frames of shape {list(given.shape)} do not fit: the bundle takes {list(self._reader.shape)} "
                "(timesteps, polarities, rows, columns)"
            )
        return whole_counts(given, "frames")

    def windows(self, given: Input, window: Window) -> list[FilePart]:
        """The samples of a recording, cut as `window` says; see `pixels`.

        Raises:
            SourceError: it is no recording that can be cut.
        """
        if isinstance(given, (str, Path)):
            return list(self._reader.windows(Path(given), window))
        if not isinstance(given, np.ndarray) or not given.dtype.names:
            raise SourceError(f"{type(given).__name__} is no recording that can be cut: give events or a path")
        _check_unmasked(given)
        return list(self._reader.windows(_events(given), window))


Converter = PictureConverter | RecordingConverter


def converter(
    manifest: Manifest, binning: Binning = "count", max_pixels: int | None = None, most_bytes: int | None = None
) -> Converter:
    """The converter for a bundle. `max_pixels` and `most_bytes` bound a picture and a recording in memory."""
    if manifest.network.input_kind == "events":
        return RecordingConverter(RecordingReader(manifest, binning, most_bytes=most_bytes))
    return PictureConverter(PictureReader(manifest, max_pixels), manifest.fit, max_pixels)


def _check_unmasked(given: object) -> None:
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise SourceError("some values of the array are masked: fill them")


def _events(given: NDArray[Any]) -> Recording:
    names = given.dtype.names or ()
    if {"polarity", "p"} <= set(names):
        raise SourceError("events with both fields, polarity and p: leave one of them out")
    polarity = next((name for name in ("polarity", "p") if name in names), None)
    if polarity is None or not {"x", "y", "t"} <= set(names):
        raise SourceError(f"events with the fields {', '.join(names)}: x, y, t (us) and polarity (or p) are needed")
    return collect_arrays(given["x"], given["y"], given[polarity], given["t"])
