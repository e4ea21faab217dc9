"""What an edge classifies, as frozen values with their flags."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from edge_client.event_options import EventOptions, StreamName, stream_named
from edge_client.option_types import Size, WindowType
from edge_client.video_name import kind_of, shown_video
from edge_client.windows import Window
from shared.binning import Binning
from shared.errors import ConfigError
from shared.flags import Flag

STANDARD_INPUT = "-"
"""Instead of paths: a list of paths, one on each line."""

NO_EVENT_OPTIONS = EventOptions()


@dataclass(frozen=True)
class InputConfig:
    """What to classify: exactly one of `images`, `events`, `watch`, `video` and `dataset`.

    `sensor` is (height, width) of an event camera in pixels, None where it is known from the recording. `repeat` 0
    goes on without end. `max_recording` is in megabytes of 10^6 bytes.
    """

    images: Annotated[
        tuple[str, ...],
        Flag(
            "--images",
            "Pictures: files, folders, glob patterns; - reads names from standard input, one a line. More may follow "
            "without the flag.",
            metavar="PATH...",
        ),
    ] = ()
    events: Annotated[
        tuple[str, ...],
        Flag(
            "--events",
            "Recordings of an event camera: files, folders, glob patterns (.bin, .aedat, .aedat4, .dat, .raw, .npz); "
            "or a stream: udp://[HOST]:PORT, tcp://[HOST]:PORT, stdin:, dv://HOST:PORT, camera:dv, camera:faery.",
            metavar="PATH...|STREAM",
        ),
    ] = ()
    binning: Annotated[Binning, Flag("--binning", "Frames of as many events each, or of as much time.")] = "count"
    watch: Annotated[
        Path | None, Flag("--watch", "The files in this folder, and those that come into it.", metavar="DIR")
    ] = None
    video: Annotated[
        str | None,
        Flag(
            "--video",
            "Frames of a video file, of a camera (index, or /dev/videoN), of a stream (rtsp://, http://) or of a "
            "GStreamer pipeline.",
            metavar="FILE|CAMERA|URL",
        ),
    ] = None
    reconnect: Annotated[
        bool | None,
        Flag(
            "--reconnect/--no-reconnect",
            "Open a camera or stream again when it gives no more frames, or is not there yet; by default a URL that "
            "was there.",
        ),
    ] = None
    latest: Annotated[
        bool, Flag("--latest", "Of a camera or stream: leave out frames that came while the edge was busy.")
    ] = False
    every: Annotated[int, Flag("--every", "Of a video: every Nth frame.", metavar="N")] = 1
    sensor: Annotated[
        tuple[int, int] | None,
        Flag("--sensor", "The event camera's pixels, instead of what the recording says.", type=Size()),
    ] = None
    window: Annotated[
        Window | None,
        Flag(
            "--window",
            "Cut each recording into samples of N events or of MS milliseconds; behind a slash the stride.",
            metavar="count:N|time:MS",
            type=WindowType(),
        ),
    ] = None
    max_recording: Annotated[
        int | None,
        Flag("--max-recording", "Megabytes that a recording may take in memory; else a quarter.", metavar="MB"),
    ] = None
    max_pixels: Annotated[
        int | None,
        Flag("--max-pixels", "Pixels that a picture may have; else what there is memory for.", metavar="N"),
    ] = None
    dataset: Annotated[
        str | None, Flag("--dataset", "Classify the test part of this data set instead.", metavar="NAME")
    ] = None
    data: Annotated[Path | None, Flag("--data", "Where the data set is.", metavar="DIR")] = None
    limit: Annotated[int | None, Flag("--limit", "Stop after N samples.", metavar="N")] = None
    repeat: Annotated[int, Flag("--repeat", "Classify all inputs N times; 0: until interrupted.", metavar="N")] = 1
    rate: Annotated[float | None, Flag("--rate", "At most this many samples a second.", metavar="X")] = None
    allow_partial: Annotated[bool, Flag("--allow-partial", "Take the data set although recordings are missing.")] = (
        False
    )
    event_options: EventOptions = NO_EVENT_OPTIONS

    def __post_init__(self) -> None:
        kinds = {
            "--images": self.images,
            "--events": self.events,
            "--watch": self.watch,
            "--video": self.video,
            "--dataset": self.dataset,
        }
        said = [flag for flag, value in kinds.items() if value]
        if len(said) != 1:
            both = f"; {' and '.join(said)} were given, here or in the environment" if said else ""
            raise ConfigError(f"say what to classify: one of {', '.join(kinds)}{both}")
        if STANDARD_INPUT in (*self.images, *self.events) and len(self.images) + len(self.events) > 1:
            raise ConfigError(f"{STANDARD_INPUT} takes names from standard input, and stands alone")
        if not self.of_camera and (self.latest or self.reconnect is not None):
            flag = "--latest" if self.latest else "--reconnect"
            raise ConfigError(f"{flag} has no meaning here: it is for a camera or stream as --video")
        if self.every < 1:
            raise ConfigError(f"--every is {self.every}: at least 1")
        if self.repeat != 1 and not self.repeatable:
            raise ConfigError("--repeat has no meaning here: standard input, a watched folder or a camera ends once")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit is {self.limit}: at least 1")
        if self.sensor is not None and min(self.sensor) < 1:
            raise ConfigError(f"--sensor is {self.sensor[1]}x{self.sensor[0]}: at least 1x1")
        for flag, most in (("--max-recording", self.max_recording), ("--max-pixels", self.max_pixels)):
            if most is not None and most < 1:
                raise ConfigError(f"{flag} is {most}: at least 1")
        if self.repeat < 0:
            raise ConfigError(f"--repeat is {self.repeat}: how often, or 0 to go on without end")
        if self.rate is not None and not 0.0 < self.rate < math.inf:
            raise ConfigError(f"--rate is {self.rate}: it must be positive, in samples a second")
        self._check_events()

    def _check_events(self) -> None:
        streams = [text for text in self.events if stream_named(text)]
        if streams and len(self.events) > 1:
            raise ConfigError(f"--events {streams[0]} is a stream, and stands alone")
        if streams and self.window is None:
            raise ConfigError(f"--events {streams[0]} does not end: say what a sample is with --window time:50, say")
        options = self.event_options
        if options.replay is not None and (streams or not self.events or STANDARD_INPUT in self.events):
            raise ConfigError("--replay has no meaning here: it plays recordings that --events names")
        if options.skip_still is not None and not (self.video or (self.events and self.window)):
            raise ConfigError("--skip-still has no meaning here: it is for --video, or --events with --window")

    @property
    def stream(self) -> StreamName | None:
        """The stream of events that `events` names."""
        return stream_named(self.events[0]) if self.events else None

    @property
    def live(self) -> bool:
        """Whether the samples do not come again: those of a camera, or of a stream."""
        return self.of_camera or self.stream is not None

    @property
    def identity(self) -> dict[str, Any]:
        """What decides which samples there are, what they are called and what is in them, as plain values."""
        return {
            "images": list(self.images) or None,
            "events": list(self.events) or None,
            "watch": None if self.watch is None else str(self.watch),
            "video": None if self.video is None else shown_video(self.video),
            "every": self.every if self.video else None,
            "dataset": self.dataset,
            "data": None if self.data is None else str(self.data.absolute()),
            "binning": self.binning if self.events or self.watch or self.dataset else None,
            "sensor": None if self.sensor is None else list(self.sensor),
            **({} if self.window is None else {"window": str(self.window)}),
            **self.event_options.identity,
        }

    @property
    def most_bytes(self) -> int | None:
        """What `max_recording` comes to."""
        return None if self.max_recording is None else self.max_recording * 1_000_000

    @property
    def repeatable(self) -> bool:
        """Whether the same samples can be read again, from the beginning to an end."""
        return not (self.watch or self.live or STANDARD_INPUT in (*self.images, *self.events))

    @property
    def of_camera(self) -> bool:
        """Whether `video` is a camera, a stream or a pipeline, whose frames do not come again."""
        return self.video is not None and kind_of(self.video) != "file"
