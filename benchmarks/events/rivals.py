"""What one could send of a window of events instead of bottleneck spikes: each form's bytes, and the frames they give.

    raw        40 bits an event, as N-MNIST's files.
    lossless   the best that was found: columns apart, times as differences, by lzma.
    counts     the bundle's frames of counts, by lzma.
    binary     whether there was an event at all, a bit a pixel, by lzma; and a byte, the mean count where there was
               one, which the cloud puts there: the network has learned counts.

All but `binary` give the cloud the same frames.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shared.datasets.base import Pixels
from shared.datasets.event_type import EVENT, Events, Sensor
from shared.datasets.events import bin_events

FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20}]
"""A dictionary as large as a window: the preset's own 64 MiB cost more time than all the rest."""


@dataclass(frozen=True)
class Shape:
    """What a network takes of a camera: frames [T, 2, H, W] of a sensor of (height, width) pixels."""

    timesteps: int
    sensor: Sensor

    def frames(self, events: Events) -> Pixels:
        """Events [n] in frames of equal count."""
        return bin_events(events, self.timesteps, self.sensor)


@dataclass(frozen=True)
class Rival:
    """A form: a window's events to bytes on the edge, and bytes to the network's frames in the cloud."""

    name: str
    encode: Callable[[Events, Shape], bytes]
    decode: Callable[[bytes, Shape], Pixels]


def _pack(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=FILTERS)


def _unpack(data: bytes) -> bytes:
    return lzma.decompress(data, lzma.FORMAT_RAW, filters=FILTERS)


def _raw(events: Events, _: Shape) -> bytes:
    x, y, t = (events[name].astype(np.int64) for name in ("x", "y", "t"))
    high = events["polarity"].astype(np.int64) << 7 | t >> 16 & 0x7F
    return np.stack([x, y, high, t >> 8 & 0xFF, t & 0xFF], axis=1).astype(np.uint8).tobytes()


def _of_raw(data: bytes, shape: Shape) -> Pixels:
    columns = np.frombuffer(data, np.uint8).reshape(-1, 5).astype(np.int64)
    events = np.empty(len(columns), EVENT)
    events["x"], events["y"], events["polarity"] = columns[:, 0], columns[:, 1], columns[:, 2] >> 7
    events["t"] = (columns[:, 2] & 0x7F) << 16 | columns[:, 3] << 8 | columns[:, 4]
    return shape.frames(events)


def _lossless(events: Events, _: Shape) -> bytes:
    steps = np.diff(events["t"], prepend=0).astype(np.int64)
    columns = [events["x"].astype(np.uint8), events["y"].astype(np.uint8)]
    columns += [(steps >> shift & 0xFF).astype(np.uint8) for shift in (16, 8, 0)]
    return len(events).to_bytes(4, "little") + _pack(
        b"".join(column.tobytes() for column in columns) + np.packbits(events["polarity"]).tobytes()
    )


def _of_lossless(data: bytes, shape: Shape) -> Pixels:
    count, rest = int.from_bytes(data[:4], "little"), np.frombuffer(_unpack(data[4:]), np.uint8)
    x, y, *steps = rest[: 5 * count].reshape(5, count).astype(np.int64)
    events = np.empty(count, EVENT)
    events["x"], events["y"] = x, y
    events["t"] = np.cumsum(steps[0] << 16 | steps[1] << 8 | steps[2])
    events["polarity"] = np.unpackbits(rest[5 * count :], count=count)
    return shape.frames(events)


def _counts(events: Events, shape: Shape) -> bytes:
    return _pack(shape.frames(events).tobytes())


def _of_counts(data: bytes, shape: Shape) -> Pixels:
    return np.frombuffer(_unpack(data), np.uint8).reshape(shape.timesteps, 2, *shape.sensor)


def _binary(events: Events, shape: Shape) -> bytes:
    frames = shape.frames(events)
    mean = frames.sum() / max(np.count_nonzero(frames), 1)
    return bytes([round(float(mean))]) + _pack(np.packbits(frames > 0).tobytes())


def _of_binary(data: bytes, shape: Shape) -> Pixels:
    count = shape.timesteps * 2 * shape.sensor[0] * shape.sensor[1]
    bits = np.unpackbits(np.frombuffer(_unpack(data[1:]), np.uint8), count=count)
    return bits.reshape(shape.timesteps, 2, *shape.sensor) * np.uint8(data[0])


RIVALS = {
    rival.name: rival
    for rival in (
        Rival("raw", _raw, _of_raw),
        Rival("lossless", _lossless, _of_lossless),
        Rival("counts", _counts, _of_counts),
        Rival("binary", _binary, _of_binary),
    )
}
