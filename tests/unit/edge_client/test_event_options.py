from __future__ import annotations

from typing import Any

import pytest

from edge_client.event_options import EventOptions, Region, StreamName, stream_named
from edge_client.input_config import InputConfig
from edge_client.windows import Window
from shared.errors import ConfigError

TIME = Window.parse("time:50")


@pytest.mark.parametrize(
    ("text", "stream"),
    [
        ("udp://:3333", StreamName("udp", "udp://:3333", ("", 3333))),
        ("udp://192.168.7.1:3333", StreamName("udp", "udp://192.168.7.1:3333", ("192.168.7.1", 3333))),
        ("tcp://[::1]:5", StreamName("tcp", "tcp://[::1]:5", ("::1", 5))),
        ("dv://camera:7777", StreamName("dv", "dv://camera:7777", ("camera", 7777))),
        ("stdin:", StreamName("stdin", "stdin:")),
        ("camera:dv", StreamName("camera", "camera:dv", driver="dv")),
        ("clips/a.dat", None),
        ("-", None),
    ],
)
def test_streams_are_told_from_files(text: str, stream: StreamName | None) -> None:
    assert stream_named(text) == stream


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("udp://", "say udp://HOST:PORT, such as udp://:3333"),
        ("tcp://host", "say tcp://HOST:PORT"),
        ("udp://:0", "port 0 is none that a sender could know"),
        ("dv://:7777", "say at which machine: dv://HOST:7777"),
        ("camera:", "say camera:dv or camera:faery"),
    ],
)
def test_streams_that_are_none(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        stream_named(text)


@pytest.mark.parametrize("text", ["10x10", "0x5+1+1", "10x10+1", "10x10-1-1", "axb+1+1"])
def test_regions_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no WIDTHxHEIGHT"):
        Region.parse(text)


def test_a_region_is_written_as_it_is_read() -> None:
    assert Region.parse("10x20+3+4") == Region(3, 4, 10, 20)
    assert str(Region(3, 4, 10, 20)) == "10x20+3+4"


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"events": ("udp://:1",)}, "udp://:1 does not end: say what a sample is with --window"),
        ({"events": ("udp://:1", "a.dat"), "window": TIME}, "udp://:1 is a stream, and stands alone"),
        ({"events": ("udp://:1",), "window": TIME, "repeat": 2}, "--repeat has no meaning here"),
        ({"events": ("stdin:",), "window": TIME, "event_options": EventOptions(replay=1.0)}, "--replay has no meaning"),
        ({"images": ("a",), "event_options": EventOptions(replay=1.0)}, "--replay has no meaning"),
        ({"events": ("a.dat",), "event_options": EventOptions(skip_still=0.1)}, "--skip-still has no meaning"),
    ],
)
def test_what_does_not_go_together(inputs: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        InputConfig(**inputs)


@pytest.mark.parametrize(
    ("option", "value"),
    [("replay", 0.0), ("denoise", -1.0), ("skip_still", 0.0), ("skip_still", 1.1), ("window_buffer", 0)],
)
def test_options_out_of_range(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')} is {value}"):
        EventOptions(**{option: value})  # type: ignore[arg-type]


def test_what_decides_the_samples_is_their_identity() -> None:
    plain = InputConfig(events=("a.dat",), window=TIME)
    assert (
        plain.identity == InputConfig(events=("a.dat",), window=TIME, event_options=EventOptions(replay=2.0)).identity
    )
    for options in (EventOptions(denoise=1.0), EventOptions(region=Region(0, 0, 5, 5)), EventOptions(skip_still=0.1)):
        assert InputConfig(events=("a.dat",), window=TIME, event_options=options).identity != plain.identity
