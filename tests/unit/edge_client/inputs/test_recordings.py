"""Recordings of event cameras as samples: formats, sensors, binning, labels, and what is wrong with a file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs.base import Item, Unreadable
from edge_client.inputs.convert import converter
from edge_client.inputs.factory import open_source
from edge_client.inputs.recordings import RecordingReader
from shared.binning import Binning
from shared.datasets.event_collector import collect_arrays, make_events
from shared.datasets.event_files import read_events
from shared.datasets.events import bin_events
from shared.errors import ConfigError, SourceError
from shared.manifest import Manifest
from tests.support.real_data import ROOT
from tests.support.recordings import write_bin, write_dat
from tests.unit.edge_client.manifests import manifest

SAMPLES = ROOT / "events" / "samples"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no {SAMPLES}: set NEUCODEX_TEST_DATA")


def of(size: int = 34, timesteps: int = 5, names: tuple[str, ...] = ("cat", "dog")) -> Manifest:
    return manifest((2, size, size), names, "events", timesteps)


def take(inputs: InputConfig, bundle: Manifest) -> list[Item]:
    return list(open_source(inputs, bundle))


def events(count: int = 500, side: int = 34, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    chance = np.random.default_rng(seed)
    t = np.sort(chance.integers(0, 10**6, count) ** 2 // 10**6)
    return make_events(*chance.integers(0, side, (2, count)), chance.integers(0, 2, count), t)  # type: ignore[return-value]


def test_a_folder_of_recordings_by_class(tmp_path: Path) -> None:
    for place, seed in (("cat/b.bin", 0), ("dog/a.bin", 1), ("a.BIN", 2)):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        write_bin(tmp_path / place, events(seed=seed))
    (tmp_path / "notes.txt").write_text("no recording")
    source = open_source(InputConfig(events=(str(tmp_path),)), of())
    assert source.count == 3
    found = {Path(item.name).name: item for item in source if isinstance(item, Sample)}
    assert {name: item.label for name, item in found.items()} == {"a.BIN": None, "b.bin": 0, "a.bin": 1}
    assert (found["b.bin"].pixels == bin_events(events(seed=0), 5, (34, 34))).all()


def test_frames_of_equal_count_or_of_equal_time(tmp_path: Path) -> None:
    write_bin(tmp_path / "x.bin", events())
    sums = {}
    for binning in ("count", "time"):
        (item,) = take(InputConfig(events=(str(tmp_path / "x.bin"),), binning=binning), of())  # type: ignore[arg-type]
        assert isinstance(item, Sample)
        sums[binning] = item.pixels.sum(axis=(1, 2, 3)).tolist()
    assert sums["count"] == [100] * 5
    t = events()["t"]
    assert sums["time"] == np.histogram(t, np.linspace(t[0], t[-1] + 1, 6))[0].tolist()


def test_what_is_larger_than_the_bundles_input_is_scaled(tmp_path: Path) -> None:
    large = collect_arrays([0, 99, 50], [0, 0, 49], [1, 1, 0], [0, 1, 2])
    reader = RecordingReader(of(10, 1))
    assert np.argwhere(reader.bin(large)[0]).tolist() == [[0, 2, 0], [0, 2, 9], [1, 7, 5]]
    # Of a camera that is larger than what its events reach.
    assert np.argwhere(RecordingReader(of(10, 1), sensor=(200, 200)).bin(large)[0]).tolist() == [
        [0, 0, 0], [0, 0, 4], [1, 2, 2],
    ]  # fmt: skip
    # What fits is taken as it is.
    assert reader.bin(collect_arrays([3], [9], [1], [0]))[0, 0, 9, 3] == 1
    with pytest.raises(SourceError, match="lies outside"):
        RecordingReader(of(10, 1), sensor=(20, 20)).bin(large)
    with pytest.raises(SourceError, match="no square"):
        RecordingReader(manifest((2, 10, 12), ("a", "b"), "events")).bin(large)


def test_frames_in_an_npz_file(tmp_path: Path) -> None:
    frames = bin_events(events(), 5, (34, 34))
    np.savez(tmp_path / "frames.npz", frames=frames.astype(np.float16), label=np.array(3))
    np.savez(tmp_path / "halves.npz", frames=frames / 2)
    np.savez(tmp_path / "short.npz", frames=frames[:4])
    good, halves, short = take(
        InputConfig(events=tuple(str(tmp_path / f"{name}.npz") for name in ("frames", "halves", "short"))), of()
    )
    assert isinstance(good, Sample)
    assert (good.pixels == frames).all()
    assert isinstance(halves, Unreadable)
    assert "whole numbers" in halves.reason
    assert isinstance(short, Unreadable)
    assert "one array of frames [5, 2, 34, 34]; it holds frames [4, 2, 34, 34]" in short.reason


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "torn.bin").write_bytes(b"1234567")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "clip.xyz").write_bytes(b"12345")
    write_bin(tmp_path / "none.bin", events(0))
    write_bin(tmp_path / "whole.bin", events())
    names = ("torn.bin", "empty.npz", "clip.xyz", "none.bin", "whole.bin")
    *wrong, whole = take(InputConfig(events=tuple(str(tmp_path / name) for name in names)), of())
    assert isinstance(whole, Sample)
    assert whole.id == 4
    for item, name, reason in zip(wrong, names, ("damaged", "npz", "no reader", ""), strict=False):
        assert isinstance(item, Unreadable)
        assert item.name == str(tmp_path / name)
        assert reason in item.reason
        assert str(tmp_path) not in item.reason


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    of_events=st.booleans(),
    packed=st.booleans(),
    cut=st.booleans(),
    place=st.integers(0, 1 << 16),
    bits=st.integers(1, 255),
)
@example(of_events=False, packed=True, cut=False, place=120, bits=8)  # the array's own header: it begins elsewhere
def test_a_damaged_npz_file_is_read_or_refused(
    tmp_path: Path, of_events: bool, packed: bool, cut: bool, place: int, bits: int
) -> None:
    path, recorded = tmp_path / "x.npz", events(60)
    arrays = {name: recorded[name] for name in ("x", "y", "t", "polarity")}
    frames = bin_events(recorded, 5, (34, 34))
    (np.savez_compressed if packed else np.savez)(path, **(arrays if of_events else {"frames": frames}))
    whole = path.read_bytes()
    at = place % len(whole)
    path.write_bytes(whole[:at] + (b"" if cut else bytes([whole[at] ^ bits]) + whole[at + 1 :]))
    (item,) = take(InputConfig(events=(str(path),)), of())
    if isinstance(item, Sample):
        assert (item.pixels == frames).all()
    else:
        assert item.reason
        assert str(path) not in item.reason


def test_events_that_are_none_are_named(tmp_path: Path) -> None:
    good = {name: events()[name] for name in ("x", "y", "t", "polarity")}
    wrong = {
        "short": {**good, "x": good["x"][1:]},
        "square": {name: column.reshape(2, -1) for name, column in good.items()},
        "single": {name: column[0] for name, column in good.items()},
        "words": {**good, "t": good["t"].astype(str)},
        "endless": {**good, "t": np.linspace(-9e18, 9e18, len(good["t"]))},
        "letters": {"frames": np.full((5, 2, 34, 34), "a")},
    }
    for name, arrays in wrong.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    names = tuple(str(tmp_path / f"{name}.npz") for name in wrong)
    for item in take(InputConfig(events=names, binning="time"), of()):
        assert isinstance(item, Unreadable)


def test_a_bundle_of_pictures_takes_none() -> None:
    with pytest.raises(SourceError, match="takes no recordings"):
        open_source(InputConfig(events=("x.bin",)), manifest())
    with pytest.raises(ConfigError, match="one of --images"):
        InputConfig(events=("x.bin",), dataset="digits")
    with pytest.raises(ConfigError, match="--sensor is 0x4"):
        InputConfig(events=("x.bin",), sensor=(4, 0))


@needs_samples
@pytest.mark.parametrize(
    ("name", "sensor"),
    [
        ("ncaltech101_Faces_easy_image_0001.bin", None),
        ("ncars_sample.dat", None),
        ("ne15_poisson_mnist.aedat", (128, 128)),
    ],
)
def test_real_recordings(name: str, sensor: tuple[int, int] | None) -> None:
    recorded = read_events(SAMPLES / name)
    (item,) = take(InputConfig(events=(str(SAMPLES / name),)), of(32))
    assert isinstance(item, Sample)
    assert item.pixels.shape == (5, 2, 32, 32)
    reach = int(recorded["y"].max()) + 1, int(recorded["x"].max()) + 1
    assert (item.pixels == bin_events(recorded, 5, sensor or reach, size=32)).all()
    # Saturated pixels apart, every event is in a frame, and as many in each.
    sums = item.pixels.sum(axis=(1, 2, 3), dtype=int)
    assert sums.sum() == len(recorded) or item.pixels.max() == 255


@needs_samples
def test_real_frames() -> None:
    (item,) = take(InputConfig(events=(str(SAMPLES / "frames_T5.npz"),)), of(34))
    assert isinstance(item, Sample)
    with np.load(SAMPLES / "frames_T5.npz") as stored:
        assert (item.pixels == stored["nmnist"]).all()


@needs_samples
def test_aedat4_with_and_without_its_reader() -> None:
    (item,) = take(InputConfig(events=(str(SAMPLES / "generic_320x240.aedat4"),)), of(32))
    if find_spec("aedat"):
        assert isinstance(item, Sample)
        assert item.pixels.sum() > 0
    else:
        assert isinstance(item, Unreadable)
        assert "pip install '.[events]'" in item.reason


def test_what_the_file_says_of_its_sensor_wins_and_the_flag_over_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corner = make_events([0, 33], [0, 33], [1, 1], [0, 1])
    for name in ("a", "b"):
        write_dat(tmp_path / f"{name}.dat", corner, header="% Width 304\n% Height 240\n")
    said = RecordingReader(of(34, 1)).read(tmp_path / "a.dat")
    # The longer side is 304, and the picture lies in the middle of the rows.
    assert np.argwhere(said[0, 0]).tolist() == [[3, 0], [7, 3]]
    assert "--sensor" not in caplog.text
    reader = RecordingReader(of(34, 1), sensor=(34, 34))
    assert [np.argwhere(reader.read(tmp_path / f"{name}.dat")[0, 0]).tolist() for name in "ab"] == [
        [[0, 0], [33, 33]]
    ] * 2
    assert caplog.text.count("--sensor: 34 x 34 stands for the 304 x 240 pixels that") == 1


@pytest.mark.parametrize("binning", ["count", "time"])
def test_a_clock_that_was_set_leaves_no_frame_empty(
    tmp_path: Path, binning: Binning, caplog: pytest.LogCaptureFixture
) -> None:
    jumping = events(4000)
    jumping["t"][40:] += 3_000_000_000
    write_dat(tmp_path / "x.dat", jumping)
    frames = RecordingReader(of(), binning).read(tmp_path / "x.dat")
    assert frames.sum(axis=(1, 2, 3)).min() > 300
    assert "x.dat: its clock jumps ahead by 3,000." in caplog.text
    assert "at event 41" in caplog.text


def test_too_large_a_recording_is_one_failed_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bin(tmp_path / "a.bin", events(100_000))
    write_bin(tmp_path / "b.bin", events(500))
    names = tuple(str(tmp_path / name) for name in ("a.bin", "b.bin"))
    large, small = take(InputConfig(events=names, max_recording=1), of())
    assert isinstance(large, Unreadable)
    assert "100,000 events or more, 2 MB in memory: more than --max-recording 1 MB" in large.reason
    assert isinstance(small, Sample)

    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("edge_client.inputs.recordings.read_recording", no_memory)
    for item in take(InputConfig(events=names), of()):
        assert isinstance(item, Unreadable)
        assert item.reason == "it needs more memory than there is"


def test_arrays_go_through_the_same_gate() -> None:
    given = np.zeros(3, [("x", "f8"), ("y", "i8"), ("t", "i8"), ("p", "i1")])
    given["p"] = [-1, 1, -1]
    convert = converter(of(34, 1)).pixels
    assert convert(given)[0].sum(axis=(1, 2)).tolist() == [1, 2]
    for field, value, message in (("x", np.nan, "x is nan"), ("y", -1, "y is -1"), ("p", 3, "polarity is 3")):
        wrong = given.copy()
        wrong[field][1] = value
        with pytest.raises(SourceError, match=f"{message} in row 1"):
            convert(wrong)
    frames = np.zeros((1, 2, 34, 34))
    assert not convert(frames).any()
    for number in (np.nan, -1, 256, 0.5, np.inf):
        frames[0, 0, 0, 0] = number
        with pytest.raises(SourceError, match=r"whole numbers in 0\.\.255"):
            convert(frames)


def test_what_has_no_times_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zeros.bin").write_bytes(bytes(5 * 800))
    with pytest.raises(SourceError, match=r"zeros\.bin: it holds one event 800 times"):
        RecordingReader(of()).read(tmp_path / "zeros.bin")
    seconds = collect_arrays(*(events()[name] for name in ("x", "y", "polarity")), events()["t"] // 1_000_000)
    with pytest.raises(SourceError, match="last 0 us, which --binning time cannot divide by 5"):
        RecordingReader(of(), "time").bin(seconds)
    assert RecordingReader(of()).bin(seconds).sum() == 500, "by count the order alone matters"


def test_a_sensor_that_is_guessed_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = RecordingReader(of())
    for name in ("a.bin", "b.bin"):
        write_bin(tmp_path / name, events(side=60))
        reader.read(tmp_path / name)
    write_bin(tmp_path / "c.bin", events())
    reader.read(tmp_path / "c.bin")
    (said,) = [record.getMessage() for record in caplog.records]
    assert "a.bin: it does not say the camera's pixels: 60 x 60, which its events reach" in said
