"""What becomes of events before they are samples, and where live ones come from: the flags, and names taken apart.

The libraries that read cameras are not needed for it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click

from shared.command_line import Address, parse_address
from shared.errors import ConfigError
from shared.flags import Flag

StreamKind = Literal["udp", "tcp", "stdin", "dv", "camera"]
EventForm = Literal["spif", "t32_x16_y15_on1", "t64_x16_y16_on8"]
"""How events are written as bytes; see `edge_client/inputs/live_events/forms.py`."""

DRIVERS = ("dv", "faery")
"""Libraries that read a camera of this machine."""

_URL = re.compile(r"(udp|tcp|dv)://(.*)")
_REGION = re.compile(r"(\d+)x(\d+)\+(\d+)\+(\d+)")

if TYPE_CHECKING:
    _RegionType = click.ParamType["Region"]
else:
    _RegionType = click.ParamType  # generic only in newer releases


@dataclass(frozen=True)
class Region:
    """A part of the sensor: its left column and upper row, and its size in pixels."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Region:
        """WIDTHxHEIGHT+X+Y.

        Raises:
            ValueError: it is none.
        """
        found = _REGION.fullmatch(text)
        if found is None or not (int(found[1]) and int(found[2])):
            raise ValueError(f"{text!r} is no WIDTHxHEIGHT+X+Y, such as 128x128+96+96")
        width, height, x, y = map(int, found.groups())
        return cls(x, y, width, height)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}+{self.x}+{self.y}"


class RegionType(_RegionType):
    """WIDTHxHEIGHT+X+Y."""

    name = "WxH+X+Y"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Region:
        if isinstance(value, Region):
            return value
        try:
            return Region.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True)
class StreamName:
    """Where live events come from.

    Attributes:
        kind: of the source.
        text: as the user wrote it; samples are named by it.
        address: of a socket, None for others. The host is empty where the edge listens at every address.
        driver: the library that reads a camera.
    """

    kind: StreamKind
    text: str
    address: Address | None = None
    driver: str = ""


def stream_named(text: str) -> StreamName | None:
    """The stream that a value of --events names; None for a file.

    Raises:
        ConfigError: it begins as a stream and is none.
    """
    if text == "stdin:":
        return StreamName("stdin", text)
    if text.startswith("camera:"):
        driver = text.removeprefix("camera:")
        if driver not in DRIVERS:
            raise ConfigError(f"--events {text}: say camera:{' or camera:'.join(DRIVERS)}, the library that reads it")
        return StreamName("camera", text, driver=driver)
    if (found := _URL.fullmatch(text)) is None:
        return None
    try:
        _, port = address = parse_address(found[2])
    except ConfigError:
        raise ConfigError(f"--events {text}: say {found[1]}://HOST:PORT, such as {found[1]}://:3333") from None
    if not port:
        raise ConfigError(f"--events {text}: port 0 is none that a sender could know")
    kind: StreamKind = "udp" if found[1] == "udp" else "tcp" if found[1] == "tcp" else "dv"
    if kind == "dv" and found[2].startswith(":"):
        raise ConfigError(f"--events {text}: say at which machine: {kind}://HOST:{port}")
    return StreamName(kind, text, ("", port) if found[2].startswith(":") else address)


@dataclass(frozen=True)
class EventOptions:
    """How events are read, cleaned and kept.

    `replay` is how many times as fast as it was recorded a recording is played; None reads it as fast as it goes.
    `denoise` is in milliseconds. `skip_still` is a share of pixels.
    """

    event_form: Annotated[
        EventForm, Flag("--event-form", "How a stream of --events writes events; spif takes 4 and 8 bytes an event.")
    ] = "spif"
    replay: Annotated[
        float | None,
        Flag("--replay", "Play recordings as if they came from a camera, SPEED times as fast.", metavar="SPEED"),
    ] = None
    window_buffer: Annotated[
        int, Flag("--window-buffer", "Windows of a stream that may wait; then the oldest is dropped.", metavar="N")
    ] = 8
    region: Annotated[
        Region | None, Flag("--region", "The part of the sensor to look at, in pixels.", type=RegionType())
    ] = None
    denoise: Annotated[
        float | None,
        Flag("--denoise", "Leave out events without another one near by within MS before them.", metavar="MS"),
    ] = None
    skip_still: Annotated[
        float | None,
        Flag(
            "--skip-still",
            "Send nothing for a window or camera frame in which less than this share (0..1) of the pixels changed.",
            metavar="X",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.window_buffer < 1:
            raise ConfigError(f"--window-buffer is {self.window_buffer}: at least 1")
        for flag, value in (("--replay", self.replay), ("--denoise", self.denoise)):
            if value is not None and not 0.0 < value < math.inf:
                raise ConfigError(f"{flag} is {value}: it must be positive")
        if self.skip_still is not None and not 0.0 < self.skip_still <= 1.0:
            raise ConfigError(f"--skip-still is {self.skip_still}: a share of the pixels, above 0 and at most 1")

    @property
    def identity(self) -> dict[str, Any]:
        """What decides which samples there are and what is in them, as plain values; empty where nothing is set."""
        return {
            **({} if self.region is None else {"region": str(self.region)}),
            **({} if self.denoise is None else {"denoise": self.denoise}),
            **({} if self.skip_still is None else {"skip_still": self.skip_still}),
        }
