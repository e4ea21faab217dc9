"""`.aedat4` of iniVation, through the package aedat (the extra `events`)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from shared.datasets.event_clock import EventClock
from shared.datasets.event_collector import Collector, Recording
from shared.datasets.event_type import Sensor
from shared.datasets.formats.disk import opened
from shared.errors import SourceError

TIME_BITS = 63


def read_aedat4(path: Path, most_bytes: int | None = None) -> Recording:
    """AEDAT4, packet by packet; times count from the first event, since the file holds the time of day.

    Raises:
        SourceError: aedat is not installed, the file is damaged, or it does not hold the events of one camera.
    """
    try:
        aedat = import_module("aedat")
    except ImportError:
        raise SourceError(f"{path}: AEDAT4 needs the package aedat: in a checkout, pip install '.[events]'") from None
    with opened(path) as file:
        file.read(1)
    try:
        decoder = aedat.Decoder(path)
        stream, sensor = _camera(decoder.id_to_stream())
        collector = Collector(EventClock(TIME_BITS), most_bytes=most_bytes)
        for packet in decoder:
            if packet["stream_id"] == stream and "events" in packet:
                events = packet["events"]
                collector.add(events["x"], events["y"], events["on"], events["t"])
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
    except Exception as error:  # the decoder raises bare Exception, and its own kinds, for damaged files
        raise SourceError(f"{path}: damaged or not an AEDAT4 file ({error}): replace the file") from None
    return collector.recording(sensor, from_zero=True)


def _camera(streams: dict[int, dict[str, Any]]) -> tuple[int, Sensor]:
    """The number and the sensor of the one stream of events."""
    cameras = {number: stream for number, stream in streams.items() if stream["type"] == "events"}
    if not cameras:
        there = ", ".join(sorted(stream["type"] for stream in streams.values())) or "nothing"
        raise SourceError(f"it holds no stream of events, but {there}")
    if len(cameras) > 1:
        named = ", ".join(f"{number} ({stream['width']} x {stream['height']})" for number, stream in cameras.items())
        raise SourceError(
            f"it holds the events of {len(cameras)} cameras, streams {named}: write each to a separate file"
        )
    ((number, stream),) = cameras.items()
    return number, (int(stream["height"]), int(stream["width"]))
