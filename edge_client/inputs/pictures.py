"""Pictures by path, as samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_client.config import InputConfig
from edge_client.files import find_files
from edge_client.pictures import SUFFIXES, read_picture
from edge_client.sources import Item, Sample, Skip, Source, Unreadable, nothing_done
from shared.bundle import Manifest
from shared.errors import SourceError
from shared.network_spec import Shape


class PictureReader:
    """Pictures from disk as samples of a bundle.

    A picture's label is the name of the folder that holds it, where that is one of the bundle's class names.

    Raises:
        SourceError: the bundle takes no pictures.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.shape = picture_shape(manifest)
        self._labels = {name: index for index, name in enumerate(manifest.class_names)}

    def sample(self, number: int, path: Path) -> Sample:
        """The picture as sample `number`, named by its path.

        Raises:
            SourceError: it cannot be read; the text says why and does not repeat the path.
        """
        frames = read_picture(path, self.shape)
        return Sample(number, str(path), self._labels.get(path.absolute().parent.name), frames)

    def item(self, number: int, path: Path) -> Item:
        """The same, or that it cannot be read."""
        try:
            return self.sample(number, path)
        except SourceError as error:
            return Unreadable(str(path), str(error))


class PictureSource(Source):
    """Pictures from files, folders (searched to the bottom) and glob patterns, in the order named."""

    def __init__(self, inputs: InputConfig, manifest: Manifest, skip: Skip = nothing_done) -> None:
        self._reader = PictureReader(manifest)
        self._paths = find_files(inputs.images, SUFFIXES, "picture")[: inputs.limit]
        self._skip = skip
        self.count = len(self._paths)

    def __iter__(self) -> Iterator[Item]:
        for number, path in enumerate(self._paths):
            if not self._skip(str(path)):
                yield self._reader.item(number, path)


def picture_shape(manifest: Manifest) -> Shape:
    """[C, H, W] of the pictures that a bundle takes.

    Raises:
        SourceError: it takes none.
    """
    spec = manifest.network
    if spec.input_kind != "static" or spec.input_shape[0] not in (1, 3):
        raise SourceError(f"bundle {manifest.name} takes recordings of events, no pictures: use --events or --dataset")
    return spec.input_shape
