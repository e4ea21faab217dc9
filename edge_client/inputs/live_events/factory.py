"""From the configuration of a run to its live events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_client.event_options import StreamName
from edge_client.input_config import InputConfig
from edge_client.inputs.base import Skip, Unreadable, nothing_done
from edge_client.inputs.files import find_files, known_file, label_of
from edge_client.inputs.live_events.byte_streams import StdinFeed, TcpFeed
from edge_client.inputs.live_events.cameras import DvFeed, FaeryFeed
from edge_client.inputs.live_events.counts import StreamCounts
from edge_client.inputs.live_events.feed import Feed
from edge_client.inputs.live_events.replay import ReplayFeed
from edge_client.inputs.live_events.source import LiveEvents
from edge_client.inputs.live_events.udp import UdpFeed
from edge_client.inputs.recordings import RecordingReader
from shared.errors import SourceError


def open_live_events(inputs: InputConfig, reader: RecordingReader, skip: Skip) -> LiveEvents:
    """The windows of a stream, or of recordings that are played.

    Raises:
        SourceError: there is none, or a name stands for nothing.
        ConfigError: what reads it is not installed.
    """
    if (stream := inputs.stream) is not None:
        counts = StreamCounts()
        return LiveEvents([_feed(stream, inputs, counts)], reader, inputs, nothing_done, counts)
    paths = [known_file(path) for path in find_files(inputs.events, reader.suffixes, reader.what)]
    return LiveEvents(_recordings(paths, inputs, reader), reader, inputs, skip, StreamCounts())


def _feed(stream: StreamName, inputs: InputConfig, counts: StreamCounts) -> Feed:
    form = inputs.event_options.event_form
    if stream.kind == "stdin":
        return StdinFeed(stream.text, form, counts)
    if stream.kind == "camera":
        return DvFeed(stream.text) if stream.driver == "dv" else FaeryFeed(stream.text)
    assert stream.address is not None
    if stream.kind == "dv":
        return DvFeed(stream.text, stream.address)
    return (UdpFeed if stream.kind == "udp" else TcpFeed)(stream.text, stream.address, form, counts)


def _recordings(paths: Sequence[Path], inputs: InputConfig, reader: RecordingReader) -> Iterator[Feed | Unreadable]:
    speed = inputs.event_options.replay
    assert speed is not None
    for path in paths:
        try:
            recording, sensor = reader.recording(path)
        except SourceError as error:
            yield Unreadable(str(path), str(error).removeprefix(f"{path}: "))
            continue
        yield ReplayFeed(path, label_of(path, reader.class_names), recording, sensor, speed)
