"""One recording in every form: whatever it is written as, the same events come back, or a refusal says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.datasets.event_collector import make_events
from shared.datasets.event_files import read_recording
from shared.datasets.event_type import Events, Sensor
from shared.datasets.formats import aedat, disk
from shared.errors import SourceError
from tests.support.recordings import Version, write_aedat, write_bin, write_dat, write_raw
from tests.unit.shared.datasets.made import made, same

NO_CHIP = "#!AER-DAT2.0\r\n"
GEOMETRY = "% Width 304\n% Height 240\n"
FORMAT = "% format EVT{};height=720;width=1280{}\n% end\n"
EVT3, EVT4 = FORMAT.format("3", ""), FORMAT.format("4", "")
BEFORE_OVERFLOW = -150_000
"""The counter overflows in the middle of the recording."""

Write = Callable[[Path, Events], None]


def npz(**changes: Callable[[Events], object]) -> Write:
    names = {"x": "x", "y": "y", "p": "polarity", "t": "t"}
    return lambda path, events: np.savez(
        path, **{short: changes.get(short, lambda e, name=name: e[name])(events) for short, name in names.items()}
    )


FORMS: dict[str, tuple[str, Write, Sensor | None]] = {
    "bin": ("bin", write_bin, None),
    "dat version 2": ("dat", write_dat, None),
    "dat version 1": ("dat", lambda path, events: write_dat(path, events, version=1, kind=0), None),
    "dat with a sensor": ("dat", lambda path, events: write_dat(path, events, header=GEOMETRY), (240, 304)),
    "dat, overflow": ("dat", lambda path, events: write_dat(path, events, clock=BEFORE_OVERFLOW), None),
    "aedat 2.0": ("aedat", write_aedat, (128, 128)),
    "aedat 2.0, no chip": ("aedat", lambda path, events: write_aedat(path, events, header=NO_CHIP), (128, 128)),
    "aedat 1.0": ("aedat", lambda path, events: write_aedat(path, events, header="# old\r\n", version=1), (128, 128)),
    "aedat 1.0, bare": ("aedat", lambda path, events: write_aedat(path, events, header="", version=1), (128, 128)),
    "aedat, overflow": ("aedat", lambda path, events: write_aedat(path, events, clock=BEFORE_OVERFLOW), (128, 128)),
    "aedat, signed": ("aedat", lambda path, events: write_aedat(path, events, clock=(1 << 31) - 150_000), (128, 128)),
    "aedat, DAVIS240": ("aedat", lambda path, events: write_aedat(path, events, chip=aedat.DAVIS240), (180, 240)),
    "aedat, DAVIS346": ("aedat", lambda path, events: write_aedat(path, events, chip=aedat.DAVIS346), (260, 346)),
    "raw EVT2": ("raw", lambda path, events: write_raw(path, events, "2.0"), None),
    "raw EVT2, overflow": ("raw", lambda path, events: write_raw(path, events, "2.0", clock=BEFORE_OVERFLOW), None),
    "raw EVT2.1": ("raw", lambda path, events: write_raw(path, events, "2.1"), None),
    "raw EVT2.1, legacy": ("raw", lambda path, events: write_raw(path, events, "2.1-legacy"), None),
    "raw EVT3": ("raw", lambda path, events: write_raw(path, events, "3.0"), None),
    "raw EVT3, overflow": ("raw", lambda path, events: write_raw(path, events, "3.0", clock=BEFORE_OVERFLOW), None),
    "raw with a format": ("raw", lambda path, events: write_raw(path, events, "3.0", EVT3), (720, 1280)),
    "raw with a geometry": (
        "raw",
        lambda path, events: write_raw(path, events, "2.0", "% geometry 640x480\n% evt 2.0\n"),
        (480, 640),
    ),
    "raw with an order": (
        "raw",
        lambda path, events: write_raw(path, events, "2.1-legacy", FORMAT.format("21", ";endianness=legacy")),
        (720, 1280),
    ),
    "dat, other marks": (
        "dat",
        lambda path, events: write_dat(path, events, header="%Width:\t304\r\n%  height = 240\r\n"),
        (240, 304),
    ),
    "raw with spaces": (
        "raw",
        lambda path, events: write_raw(path, events, "3.0", "% format evt3 ; width=640; height=480\r\n% end\r\n"),
        (480, 640),
    ),
    "npz, -1 and 1": ("npz", npz(p=lambda e: np.where(e["polarity"], 1, -1)), None),
    "npz, floats": ("npz", npz(x=lambda e: e["x"].astype(np.float32), t=lambda e: e["t"].astype(float)), None),
    "npz, overflow": ("npz", npz(t=lambda e: (e["t"] + BEFORE_OVERFLOW & (1 << 32) - 1).astype(np.uint32)), None),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("block", [disk.BLOCK, 97])
def test_the_same_events_come_back(tmp_path: Path, form: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "BLOCK", block)  # of the readers: what they carry from one to the next
    suffix, write, sensor = FORMS[form]
    path = tmp_path / f"x.{suffix}"
    write(path, made())
    found = read_recording(path)
    same(found.events, made())
    assert found.sensor == sensor
    assert found.notes == ()


REFUSED: dict[str, tuple[str, Write, str]] = {
    "both names of polarity": (
        "npz",
        lambda path, e: np.savez(path, x=e["x"], y=e["y"], t=e["t"], p=e["polarity"], polarity=~e["polarity"]),
        "both polarity and p",
    ),
    "dat with two widths": (
        "dat",
        lambda path, events: write_dat(path, events, header=GEOMETRY + "% width 640\n"),
        "its header says width 304 and 640",
    ),
    "aedat of two chips": (
        "aedat",
        lambda path, events: write_aedat(path, events, header="#!AER-DAT2.0\n# AEChip: DVS128\n# AEChip: DAVIS240\n"),
        "the chips DVS128 and DAVIS240",
    ),
    "aedat of a longer name": (
        "aedat",
        lambda path, events: write_aedat(path, events, header="#!AER-DAT2.0\n# AEChip: DVS1280\n"),
        "the chip DVS1280, which is not known",
    ),
    "aedat of a DAVIS without its version": (
        "aedat",
        lambda path, events: write_aedat(path, events[:1500], chip=aedat.DAVIS240, header="# AEChip: DAVIS240C\n"),
        "it lacks its version",
    ),
    "aedat 2.0 without its version": (
        "aedat",
        lambda path, events: write_aedat(path, events[:1500], header="# some words\n"),
        "it says no version",
    ),
    "raw with two encodings": (
        "raw",
        lambda path, events: write_raw(path, events, "3.0", "% evt 2.0\n" + EVT3),
        "format EVT3 and evt 2.0",
    ),
    "raw with two sizes": (
        "raw",
        lambda path, events: write_raw(path, events, "3.0", "% geometry 640x480\n" + EVT3),
        "640x480 and 1280 x 720 pixels",
    ),
    "raw with words for its size": (
        "raw",
        lambda path, events: write_raw(path, events, "3.0", "% evt 3.0\n% geometry large\n% end\n"),
        "the sensor is large",
    ),
    "seconds": ("npz", npz(t=lambda e: e["t"] / 1e6), r"t is \S+ in row 1: times are whole microseconds"),
    "1 and 2": ("npz", npz(p=lambda e: e["polarity"] + 1), r"polarity is 2 in row \d+"),
    "nanoseconds of the day": ("npz", npz(t=lambda e: e["t"] * 1000 + 1_764_547_200_000_000_000), "t is 17645"),
    "dat of triggers": ("dat", lambda path, events: write_dat(path, events, kind=14), "external triggers"),
    "dat of another kind": ("dat", lambda path, events: write_dat(path, events, kind=40), "event type 40"),
    "dat version 3": ("dat", lambda path, events: write_dat(path, events, version=3), "version 3 is not known"),
    "dat with half a sensor": (
        "dat",
        lambda path, events: write_dat(path, events, header="% Width 304\n"),
        "304 x None pixels",
    ),
    "dat with no sensor": (
        "dat",
        lambda path, events: write_dat(path, events, header="% Width 0\n% Height x\n"),
        "0 x x pixels",
    ),
    "aedat of an unknown chip": (
        "aedat",
        lambda path, events: write_aedat(path, events, header="#!AER-DAT2.0\r\n# AEChip: a.b.Celex5\r\n"),
        "the chip a.b.Celex5, which is not known",
    ),
    "aedat of a DAVIS without its name": (
        "aedat",
        lambda path, events: write_aedat(path, events, chip=aedat.DAVIS240, header="#!AER-DAT2.0\r\n"),
        "no events of a DVS128",
    ),
    "aedat 3.1": ("aedat", lambda path, events: path.write_bytes(b"#!AER-DAT3.1\r\n" + bytes(80)), r"AEDAT 3\.1: only"),
    "raw in EVT4": (
        "raw",
        lambda path, events: write_raw(path, events, "2.0", EVT4),
        "encoding EVT4",
    ),
    "raw without an encoding": ("raw", lambda path, events: write_raw(path, events, "2.0", "% end\n"), "no encoding"),
    "raw, big-endian": (
        "raw",
        lambda path, events: write_raw(path, events, "2.1", FORMAT.format("21", ";endianness=big")),
        "big-endian",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_read_rightly_is_refused(tmp_path: Path, form: str) -> None:
    suffix, write, message = REFUSED[form]
    path = tmp_path / f"x.{suffix}"
    write(path, made())
    with pytest.raises(SourceError, match=rf"x\.{suffix}: .*{message}"):
        read_recording(path)


def test_a_clock_that_is_set_back_in_a_file(tmp_path: Path) -> None:
    events = made()
    events["t"][1200:] -= events["t"][1200]
    for name, write in (("x.dat", write_dat), ("x.aedat", write_aedat)):
        write(tmp_path / name, events)
        found = read_recording(tmp_path / name)
        assert found.events["x"].tolist() == made()["x"].tolist()
        (note,) = found.notes
        assert "set back by 0." in note
        assert "at event 1,201" in note


@pytest.mark.parametrize("version", ["2.0", "2.1", "3.0"])
def test_a_raw_file_that_is_cut_off_says_so(tmp_path: Path, version: Version) -> None:
    path = tmp_path / "x.raw"
    write_raw(path, made(), version)
    path.write_bytes(path.read_bytes()[:-1])
    found = read_recording(path)
    same(found.events, made()[:-1])
    assert "are no whole word, and are left out: was it cut off?" in found.notes[-1]


def test_raw_words_without_a_new_high_half(tmp_path: Path) -> None:
    """As expelliarmus writes EVT3: one word of the high half of the time, and low halves that start again."""
    low = [4000, 4090, 5, 60, 4095, 0]
    words = [8 << 12, *(word for time in low for word in (6 << 12 | time, 7, 2 << 12 | 11))]
    (tmp_path / "x.raw").write_bytes(b"% evt 3.0 \n" + np.array(words, "<u2").tobytes())
    t = read_recording(tmp_path / "x.raw").events["t"]
    assert t.tolist() == [4000, 4090, 4096 + 5, 4096 + 60, 4096 + 4095, 2 * 4096]


def test_raw_vectors_spread_over_their_pixels(tmp_path: Path) -> None:
    words = [8 << 12 | 1, 7, 3 << 12 | 1 << 11 | 100, 4 << 12 | 0b100000000001, 5 << 12 | 0b10000001, 2 << 12 | 3]
    (tmp_path / "x.raw").write_bytes(b"% evt 3.0\n% end\n" + np.array(words, "<u2").tobytes())
    events = read_recording(tmp_path / "x.raw").events
    assert events.tolist() == [(x, 7, x != 3, 4096) for x in (100, 111, 112, 119, 3)]
    halves = [8 << 28 | 2, 0, 1 << 28 | 5 << 22 | 40 << 11 | 9, 1 | 1 << 31]
    (tmp_path / "y.raw").write_bytes(b"% evt 2.1\n% end\n" + np.array(halves, "<u4").tobytes())
    assert read_recording(tmp_path / "y.raw").events.tolist() == [(40, 9, True, 133), (71, 9, True, 133)]


def test_what_stands_before_the_first_time_is_left_out(tmp_path: Path) -> None:
    words = [1 << 28 | 40 << 11 | 9, 10 << 28, 8 << 28 | 1, 14 << 28, 40 << 11 | 9]
    (tmp_path / "x.raw").write_bytes(b"% evt 2.0\n% end\n" + np.array(words, "<u4").tobytes())
    assert read_recording(tmp_path / "x.raw").events.tolist() == [(40, 9, False, 64)]


def test_data_that_begin_as_a_header_does(tmp_path: Path) -> None:
    """Rows 140 to 143 of a DAVIS have '#' in their first byte."""
    row = np.full(50, 180 - 1 - 140)
    events = make_events(np.arange(50), row, np.ones(50), np.arange(50) * 9)
    header = "#!AER-DAT2.0\r\n# AEChip: a.DAVIS240C\r\n#End Of ASCII Header\r\n"
    write_aedat(tmp_path / "x.aedat", events, chip=aedat.DAVIS240, header=header)
    assert header.encode() + b"#" in (tmp_path / "x.aedat").read_bytes()
    same(read_recording(tmp_path / "x.aedat").events, events)


def test_special_addresses_of_a_davis_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.aedat"
    write_aedat(path, made(), chip=aedat.DAVIS346)
    others = np.array([[1 << 31 | 5, 7], [1 << 10, 8]], ">u4").tobytes()  # a sample of a picture, an external input
    path.write_bytes(path.read_bytes() + others)
    same(read_recording(path).events, made())


@pytest.mark.parametrize(("form", "suffix"), [("2.0", "raw"), ("3.0", "raw"), ("dat", "dat"), ("bin", "bin")])
def test_too_much_for_the_memory_is_refused(tmp_path: Path, form: Version, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    {"dat": write_dat, "bin": write_bin}.get(form, lambda p, e: write_raw(p, e, form))(path, made())
    assert len(read_recording(path, 13 * 2000).events) == 2000
    with pytest.raises(SourceError, match="more than --max-recording"):
        read_recording(path, 13 * 2000 - 1)


def test_an_npz_that_expands_too_far_is_refused_before(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **dict.fromkeys("xytp", np.zeros(1_000_000, np.int64)))
    assert path.stat().st_size < 100_000
    with pytest.raises(SourceError, match="its arrays take 33 MB: more than --max-recording 20 MB"):
        read_recording(path, 20_000_000)


def test_expelliarmus_writes_what_is_read(tmp_path: Path) -> None:
    """Another program's files, where it is installed."""
    wizard = pytest.importorskip("expelliarmus").Wizard
    events = made()
    aligned = {"names": ["t", "x", "y", "p"], "formats": ["<i8", "<i2", "<i2", "u1"], "offsets": [0, 8, 10, 12]}
    theirs = np.zeros(len(events), np.dtype({**aligned, "itemsize": 16}))
    for name, other in (("t", "t"), ("x", "x"), ("y", "y"), ("polarity", "p")):
        theirs[other] = events[name]
    for encoding, suffix in (("evt2", "raw"), ("evt3", "raw"), ("dat", "dat")):
        path = tmp_path / f"{encoding}.{suffix}"
        wizard(encoding=encoding).save(fpath=path, arr=theirs)
        same(read_recording(path).events, events)
