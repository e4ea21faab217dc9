"""From what a program has (arrays, Pillow pictures, paths) to the input array that a bundle takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_client.heads.base import InputArray
from edge_client.inputs.images import from_array, from_image, read_picture
from edge_client.inputs.pictures import picture_shape
from edge_client.inputs.recordings import RecordingReader, whole_counts
from shared.binning import Binning
from shared.datasets.events import make_events
from shared.errors import SourceError
from shared.manifest import Manifest
from shared.network_spec import Shape
from shared.picture_fit import PictureFit

if TYPE_CHECKING:
    from PIL.Image import Image

    Input = NDArray[Any] | Image | Path | str


class PictureConverter:
    """For a bundle of pictures; each becomes as large as the manifest's `fit` says."""

    def __init__(self, shape: Shape, fit: PictureFit) -> None:
        self.shape: tuple[int, ...] = shape
        self._shape = shape
        self._fit = fit

    def pixels(self, given: Input) -> InputArray:
        """uint8 [C, H, W].

        Raises:
            SourceError: it is no picture.
        """
        if isinstance(given, (str, Path)):
            try:
                return read_picture(Path(given), self._shape, self._fit)
            except SourceError as error:
                raise SourceError(f"{given}: {error}") from None
        if not isinstance(given, np.ndarray):
            if not hasattr(given, "convert"):
                raise SourceError(f"{type(given).__name__} is no picture: give an array, a Pillow picture or a path")
            return from_image(given, self._shape, self._fit)
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
        if given.dtype.names:
            return self._reader.bin(_events(given))
        if given.shape != self._reader.shape:
            raise SourceError(
                f"frames of shape {list(given.shape)} do not fit: the bundle takes {list(self._reader.shape)} "
                "(timesteps, polarities, rows, columns)"
            )
        return whole_counts(given, "frames")


Converter = PictureConverter | RecordingConverter


def converter(manifest: Manifest, binning: Binning = "count") -> Converter:
    """The converter for a bundle."""
    if manifest.network.input_kind == "events":
        return RecordingConverter(RecordingReader(manifest, binning))
    return PictureConverter(picture_shape(manifest), manifest.fit)


def _events(given: NDArray[Any]) -> NDArray[np.void]:
    names = given.dtype.names or ()
    polarity = next((name for name in ("polarity", "p") if name in names), None)
    if polarity is None or not {"x", "y", "t"} <= set(names):
        raise SourceError(f"events with the fields {', '.join(names)}: x, y, t (us) and polarity (or p) are needed")
    return make_events(given["x"], given["y"], given[polarity], given["t"])
