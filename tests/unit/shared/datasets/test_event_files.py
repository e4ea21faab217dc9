from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from shared.datasets.event_files import read_events, read_recording
from shared.datasets.event_type import EVENT, Events
from shared.datasets.events import bin_events
from shared.datasets.formats.aedat4 import _camera
from shared.errors import SourceError
from tests.support.recordings import write_bin, write_dat
from tests.unit.shared.datasets.real_data import SAMPLES, needs_samples
from tests.unit.shared.datasets.test_events import recordings


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(recordings())
def test_bin_round_trip(tmp_path: Path, events: Events) -> None:
    path = tmp_path / "events.bin"
    write_bin(path, events)
    if len(events):
        np.testing.assert_array_equal(read_events(path), events)
    else:
        assert path.read_bytes() == b""


def test_bin_layout(tmp_path: Path) -> None:
    path = tmp_path / "events.bin"
    path.write_bytes(bytes([3, 4, 0x80 | 0x01, 0x02, 0x03]))
    (event,) = read_events(path)
    assert event.tolist() == (3, 4, True, 0x010203)


def test_bin_clock_overflow_moves_later_events_on(tmp_path: Path) -> None:
    path = tmp_path / "events.bin"
    path.write_bytes(bytes([1, 1, 0, 0, 9, 0, 240, 0, 0, 0, 2, 2, 0, 0, 5]))
    assert read_events(path)["t"].tolist() == [9, 8192 + 5]


@pytest.mark.parametrize("content", [b"1234", b"123456"])
def test_damaged_bin_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "00001.bin"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"00001\.bin: damaged"):
        read_events(path)


@pytest.mark.parametrize("suffix", [".bin", ".aedat", ".dat", ".raw"])
def test_an_empty_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(SourceError, match=rf"a\{suffix}: it is empty: 0 bytes"):
        read_events(path)


@pytest.mark.parametrize(
    ("suffix", "header"),
    [(".aedat", b"#!AER-DAT2.0\r\n"), (".dat", b"% Version 2\n\x0c\x08"), (".raw", b"% evt 3.0\n% end\n")],
)
def test_a_header_alone_is_a_recording_without_events(tmp_path: Path, suffix: str, header: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(header)
    assert not len(read_events(path))


def test_another_file_is_no_bin_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"plain text\n" * 500)
    with pytest.raises(SourceError, match="its times jump back again and again"):
        read_events(path)


def aedat2(*events: tuple[int, int], header: bytes = b"#!AER-DAT2.0\r\n# made up\r\n") -> bytes:
    return header + b"".join(struct.pack(">II", address, t) for address, t in events)


def test_aedat2_bits_and_mirrors(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    on_at = 5 << 8 | 9 << 1  # raw y 5, raw x 9, bit 0 clear: ON
    path.write_bytes(aedat2((on_at, 100), (on_at | 1, 250), (1 << 15, 300)))
    events = read_events(path)
    assert events.tolist() == [(127 - 9, 127 - 5, True, 100), (127 - 9, 127 - 5, False, 250)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"plain", "damaged, 5 bytes"),
        (b"plain text", "damaged, 10 bytes"),
        (b"plain text is no recording of events, not at all", "it says no version"),
        (b"#!AER-DAT3.1\r\n", "AEDAT 3.1"),
        (aedat2((0, 1)) + b"x", "9 bytes of data"),
    ],
)
def test_damaged_aedat2_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "a.aedat"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=rf"a\.aedat: .*{why}"):
        read_events(path)


def test_prophesee_dat(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(b"% Version 2\n" + bytes([0, 8]) + struct.pack("<II", 7, 300 | 200 << 14 | 1 << 28))
    assert read_events(path).tolist() == [(300, 200, True, 7)]
    path.write_bytes(b"% Version 2\n" + bytes([0, 8, 1]))
    with pytest.raises(SourceError, match=r"a\.dat: damaged"):
        read_events(path)


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=[1, 2], y=[3, 4], t=[20, 10], p=[1, 0])
    assert read_events(path).tolist() == [(2, 4, False, 10), (1, 3, True, 20)]
    np.savez(path, x=[1, 2], y=[3, 4], t=[20, 10], p=[1, 0], camera=np.array({"name": "any object"}))
    assert read_events(path).tolist() == [(2, 4, False, 10), (1, 3, True, 20)]
    np.savez(path, x=[1, 2])
    with pytest.raises(SourceError, match=r"a\.npz"):
        read_events(path)
    path.write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"a\.npz"):
        read_events(path)


def test_unknown_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no reader for \.txt"):
        read_events(tmp_path / "a.txt")
    with pytest.raises(SourceError, match=r"a\.bin: cannot be read"):
        read_events(tmp_path / "a.bin")


def test_aedat4_without_its_reader_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "aedat", None)
    with pytest.raises(SourceError, match=r"'\.\[events\]'"):
        read_events(tmp_path / "a.aedat4")


@needs_samples
def test_real_recordings() -> None:
    saccades = read_events(SAMPLES / "ncaltech101_Faces_easy_image_0001.bin")
    assert len(saccades) == 67_445
    assert (saccades["x"].max(), saccades["y"].max()) == (150, 172)
    assert saccades["t"][-1] == 299_364
    cars = read_events(SAMPLES / "ncars_sample.dat")
    assert len(cars) == 2009
    assert cars[:3].tolist() == [(25, 8, False, 0), (67, 35, False, 35), (56, 27, True, 152)]
    poisson = read_events(SAMPLES / "ne15_poisson_mnist.aedat")
    assert poisson[0].tolist() == (127 - 0x26 // 2, 127 - 4, True, 40)
    assert poisson["x"].min() >= 127 - 28


@needs_samples
@pytest.mark.parametrize(
    ("name", "count", "first", "sensor"),
    [
        ("generic_320x240.aedat4", 111_954, (154, 204, False, 0), (240, 320)),
        ("davis346_clip.aedat4", 6_676, (215, 164, True, 0), (260, 346)),
    ],
)
def test_aedat4(name: str, count: int, first: object, sensor: tuple[int, int]) -> None:
    recording = read_recording(SAMPLES / name)
    assert len(recording.events) == count
    assert recording.events[0].tolist() == first
    assert recording.sensor == sensor


def test_the_camera_of_an_aedat4_file() -> None:
    """One stream of events, or a refusal that says what there is."""
    assert _camera({0: {"type": "frame"}, 3: {"type": "events", "width": 640, "height": 480}}) == (3, (480, 640))
    with pytest.raises(SourceError, match="no stream of events, but frame, imus"):
        _camera({0: {"type": "frame"}, 1: {"type": "imus"}})
    two = ((640, 480), (346, 260))
    with pytest.raises(SourceError, match=r"2 cameras, streams 0 \(640 x 480\), 1 \(346 x 260\): write each"):
        _camera({number: {"type": "events", "width": w, "height": h} for number, (w, h) in enumerate(two)})


def test_a_recording_takes_less_than_three_times_its_size(tmp_path: Path) -> None:
    path = tmp_path / "x.dat"
    events = np.zeros(4_000_000, EVENT)
    events["t"] = np.arange(len(events))
    write_dat(path, events)
    del events
    tracemalloc.start()
    recording = read_recording(path)
    bin_events(recording.events, 5, (34, 34), by="time")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * path.stat().st_size
