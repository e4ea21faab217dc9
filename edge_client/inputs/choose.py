"""From what a run is told to classify to the source of its samples."""

from __future__ import annotations

from edge_client.config import InputConfig
from edge_client.inputs.again import Paced, Repeated
from edge_client.inputs.datasets import DatasetSource
from edge_client.inputs.pictures import PictureSource
from edge_client.inputs.recordings import RecordingSource
from edge_client.sources import Skip, Source, nothing_done
from shared.bundle import Manifest


def open_source(inputs: InputConfig, manifest: Manifest, skip: Skip = nothing_done) -> Source:
    """The source that a run asks for, without the samples that `skip` knows.

    Raises:
        SourceError: there are no pictures, no such data set, or it does not fit the bundle.
    """
    source = _open_once(inputs, manifest, skip) if inputs.repeat == 1 else _open_again(inputs, manifest, skip)
    return source if inputs.rate is None else Paced(source, inputs.rate)


def _open_again(inputs: InputConfig, manifest: Manifest, skip: Skip) -> Source:
    return Repeated(lambda: _open_once(inputs, manifest, skip), inputs.repeat)


def _open_once(inputs: InputConfig, manifest: Manifest, skip: Skip) -> Source:
    if inputs.dataset is not None:
        return DatasetSource(inputs, manifest, skip)
    if inputs.events:
        return RecordingSource(inputs, manifest, skip)
    return PictureSource(inputs, manifest, skip)
