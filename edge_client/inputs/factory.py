"""From the configuration of a run to the source of its samples."""

from __future__ import annotations

from edge_client.input_config import STANDARD_INPUT, InputConfig
from edge_client.inputs.base import Skip, Source, nothing_done
from edge_client.inputs.datasets import DatasetSource
from edge_client.inputs.files import FileReader, ListedFiles, NamedFiles, standard_input
from edge_client.inputs.live_events.factory import open_live_events
from edge_client.inputs.pictures import PictureReader, picture_shape
from edge_client.inputs.recordings import RecordingReader
from edge_client.inputs.repeat import Paced, Repeated
from edge_client.inputs.still import StillGate
from edge_client.inputs.video import VideoSource
from edge_client.inputs.watched_folder import WatchedFolder
from shared.manifest import Manifest


def open_source(inputs: InputConfig, manifest: Manifest, skip: Skip = nothing_done) -> Source:
    """The source that a run asks for, without the samples that `skip` knows.

    Raises:
        SourceError: there is nothing to read, or it does not fit the bundle.
        ConfigError: what reads it is not installed.
    """
    source = _open_once(inputs, manifest, skip) if inputs.repeat == 1 else _open_again(inputs, manifest, skip)
    if (least := inputs.event_options.skip_still) is not None:
        source = StillGate(source, least)
    return source if inputs.rate is None else Paced(source, inputs.rate)


def _open_again(inputs: InputConfig, manifest: Manifest, skip: Skip) -> Source:
    return Repeated(lambda: _open_once(inputs, manifest, skip), inputs.repeat)


def _open_once(inputs: InputConfig, manifest: Manifest, skip: Skip) -> Source:
    if inputs.stream is not None or inputs.event_options.replay is not None:
        return open_live_events(inputs, _recordings(inputs, manifest), skip)
    if inputs.dataset is not None:
        return DatasetSource(inputs, manifest, skip)
    if inputs.video is not None:
        return VideoSource(
            inputs.video,
            inputs.every,
            picture_shape(manifest),
            manifest.fit,
            skip,
            inputs.limit,
            reconnect=inputs.reconnect,
            latest=inputs.latest,
        )
    if inputs.watch is not None:
        of_events = manifest.network.input_kind == "events"
        return WatchedFolder(inputs.watch, _reader(inputs, manifest, of_events), skip, inputs.limit)
    names = inputs.events or inputs.images
    reader = _reader(inputs, manifest, bool(inputs.events))
    if names == (STANDARD_INPUT,):
        return ListedFiles(standard_input(), reader, skip, inputs.limit)
    return NamedFiles(names, reader, skip, inputs.limit, one_each=inputs.window is None)


def _reader(inputs: InputConfig, manifest: Manifest, of_events: bool) -> FileReader:
    return _recordings(inputs, manifest) if of_events else PictureReader(manifest, inputs.max_pixels)


def _recordings(inputs: InputConfig, manifest: Manifest) -> RecordingReader:
    options = inputs.event_options
    return RecordingReader(manifest, inputs.binning, inputs.sensor, inputs.window, inputs.most_bytes, options)
