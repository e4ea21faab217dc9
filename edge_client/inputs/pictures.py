"""Pictures by path, as samples."""

from __future__ import annotations

from pathlib import Path

from edge_client.inference.sample import Sample
from edge_client.inputs.files import written_at
from edge_client.inputs.images import SUFFIXES, read_picture
from shared.errors import SourceError
from shared.manifest import Manifest
from shared.network_spec import Shape


class PictureReader:
    """Pictures from disk as samples of a bundle.

    A picture's label is the name of the folder that holds it, where that is one of the bundle's class names.

    Raises:
        SourceError: the bundle takes no pictures.
    """

    what = "picture"
    suffixes = SUFFIXES

    def __init__(self, manifest: Manifest) -> None:
        self.shape = picture_shape(manifest)
        self._fit = manifest.fit
        self._labels = {name: index for index, name in enumerate(manifest.class_names)}

    def sample(self, number: int, path: Path) -> Sample:
        """The picture as sample `number`, named by its path.

        Raises:
            SourceError: it cannot be read; the text says why and does not repeat the path.
        """
        pixels = read_picture(path, self.shape, self._fit)
        return Sample(number, str(path), self._labels.get(path.absolute().parent.name), pixels, written_at(path))


def picture_shape(manifest: Manifest) -> Shape:
    """[C, H, W] of the pictures that a bundle takes.

    Raises:
        SourceError: it takes none.
    """
    spec = manifest.network
    if spec.input_kind != "static" or spec.input_shape[0] not in (1, 3):
        raise SourceError(f"bundle {manifest.name} takes recordings of events, no pictures: use --events or --dataset")
    return spec.input_shape
