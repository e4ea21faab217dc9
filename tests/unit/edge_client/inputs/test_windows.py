"""Long recordings cut into samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs.base import Unreadable
from edge_client.inputs.cuts import cuts
from edge_client.inputs.factory import open_source
from edge_client.windows import Window
from shared.datasets.event_collector import make_events
from shared.datasets.events import bin_events
from tests.support.recordings import write_dat
from tests.unit.edge_client.manifests import manifest
from tests.unit.shared.datasets.made import made

BUNDLE = manifest((2, 34, 34), ("cat", "dog"), "events", 5)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("count:2000", Window("count", 2000, 2000)),
        ("count:2000/500", Window("count", 2000, 500)),
        ("time:50", Window("time", 50_000, 50_000)),
        ("time:0.5/0.25", Window("time", 500, 250)),
    ],
)
def test_windows_are_read(text: str, window: Window) -> None:
    assert Window.parse(text) == window
    assert Window.parse(str(window)) == window


@pytest.mark.parametrize("text", ["", "50", "count", "count:0", "count:2.5", "time:0", "time:5/0", "time:.", "hour:1"])
def test_windows_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"no length of a window|neither count:N nor time:MS"):
        Window.parse(text)


def test_by_count_each_has_as_many_events() -> None:
    events = made(1050)
    found = list(cuts(events, Window("count", 100, 50)))
    assert len(found) == 20
    assert all((cut.events == events[50 * number : 50 * number + 100]).all() for number, cut in enumerate(found))
    assert [cut.start_us for cut in found] == [int(events["t"][50 * number]) for number in range(20)]


def test_by_time_each_is_as_long() -> None:
    events = make_events([0] * 6, [0] * 6, [1] * 6, [1000, 1999, 2000, 2500, 4500, 5999])
    found = list(cuts(events, Window("time", 1000, 1000)))
    assert [(cut.start_us, cut.span, cut.events["t"].tolist()) for cut in found] == [
        (0, (1000, 2000), [1000, 1999]),
        (1000, (2000, 3000), [2000, 2500]),
        (3000, (4000, 5000), [4500]),
        (4000, (5000, 6000), [5999]),
    ]


def test_what_fills_no_window_is_one_sample() -> None:
    for window in (None, Window("count", 5000, 5000), Window("time", 10_000_000, 1)):
        (cut,) = cuts(made(), window)
        assert (len(cut.events), cut.start_us, cut.span) == (2000, 0, None)


def test_a_recording_as_samples_with_their_times(tmp_path: Path) -> None:
    path = tmp_path / "cat" / "x.dat"
    path.parent.mkdir()
    write_dat(path, made())
    window = Window.parse("count:500")
    found = list(open_source(InputConfig(events=(str(path),), window=window), BUNDLE))
    assert [(item.id, item.name, item.label) for item in found if isinstance(item, Sample)] == [
        (number, f"{path}#{number}", 0) for number in range(4)
    ]
    for number, item in enumerate(found):
        assert isinstance(item, Sample)
        part = made()[500 * number : 500 * number + 500]
        assert item.time_s == int(part["t"][0]) / 1e6
        np.testing.assert_array_equal(item.pixels, bin_events(part, 5, (34, 34)))
    source = open_source(InputConfig(events=(str(path),), window=window, limit=2), BUNDLE, lambda name: name[-1] == "0")
    assert [item.name for item in source] == [f"{path}#1"]
    (whole,) = open_source(InputConfig(events=(str(path),)), BUNDLE)
    assert isinstance(whole, Sample)
    assert whole.time_s is None


def test_frames_of_a_window_of_time_divide_the_window(tmp_path: Path) -> None:
    events = make_events([1] * 3, [0] * 3, [1] * 3, [0, 40_000, 99_999])
    write_dat(tmp_path / "x.dat", events)
    inputs = InputConfig(events=(str(tmp_path / "x.dat"),), window=Window.parse("time:50"), binning="time")
    first, second = open_source(inputs, BUNDLE)
    assert isinstance(first, Sample)
    assert isinstance(second, Sample)
    assert first.pixels.sum(axis=(1, 2, 3)).tolist() == [1, 0, 0, 0, 1]
    assert second.pixels.sum(axis=(1, 2, 3)).tolist() == [0, 0, 0, 0, 1]


def test_frames_are_not_cut(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", frames=np.zeros((5, 2, 34, 34), np.uint8))
    (item,) = open_source(InputConfig(events=(str(tmp_path / "x.npz"),), window=Window.parse("time:50")), BUNDLE)
    assert isinstance(item, Unreadable)
    assert "it holds frames, which --window cannot cut" in item.reason
