"""Pictures by path, as samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_client.heads.base import InputArray
from edge_client.inputs.base import FilePart
from shared.errors import SourceError
from shared.manifest import Manifest
from shared.network_spec import Shape
from shared.picture_formats import SUFFIXES
from shared.pictures import default_max_pixels, read_picture


class PictureReader:
    """Pictures from disk as samples of a bundle.

    Args:
        manifest: of the bundle.
        max_pixels: that a picture may have; None: what there is memory for.

    Raises:
        SourceError: the bundle takes no pictures.
    """

    what = "picture"
    suffixes = SUFFIXES

    def __init__(self, manifest: Manifest, max_pixels: int | None = None) -> None:
        self.shape = picture_shape(manifest)
        self.class_names = manifest.class_names
        self._fit = manifest.fit
        self._max_pixels = default_max_pixels() if max_pixels is None else max_pixels

    def parts(self, path: Path, *, torn: bool = True) -> Iterator[FilePart]:
        """The picture, named by its path, see `FileReader`."""
        yield FilePart(str(path), None, lambda: self.read(path, torn=torn))

    def read(self, path: Path, *, torn: bool = True) -> InputArray:
        """uint8 [C, H, W].

        Raises:
            SourceError: it cannot be read; the text says why and does not repeat the path.
        """
        return read_picture(path, self.shape, self._fit, max_pixels=self._max_pixels, torn=torn)


def picture_shape(manifest: Manifest) -> Shape:
    """[C, H, W] of the pictures that a bundle takes.

    Raises:
        SourceError: it takes none.
    """
    spec = manifest.network
    if spec.input_kind != "static" or spec.input_shape[0] not in (1, 3):
        raise SourceError(f"bundle {manifest.name} takes recordings of events, no pictures: use --events or --dataset")
    return spec.input_shape
