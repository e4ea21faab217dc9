from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.binning import Binning
from shared.datasets.event_collector import make_events
from shared.datasets.event_type import Events
from shared.datasets.events import OFF, ON, bin_events, extent
from shared.errors import SourceError


@st.composite
def recordings(draw: st.DrawFn, most_t: int = 1 << 22) -> Events:
    rows = st.tuples(st.integers(0, 33), st.integers(0, 33), st.booleans(), st.integers(0, most_t))
    drawn = draw(st.lists(rows, max_size=60))
    columns = list(zip(*drawn, strict=True)) or [(), (), (), ()]
    return make_events(*(np.array(column, np.int64) for column in columns))


def test_events_are_put_in_order_of_time() -> None:
    events = make_events([5, 6, 7], [0, 0, 0], [1, 0, 1], [30, 10, 10])
    assert events["x"].tolist() == [6, 7, 5]
    assert events["t"].tolist() == [10, 10, 30]


def test_polarity_chooses_the_channel() -> None:
    events = make_events([1, 2], [3, 4], [True, False], [0, 1])
    frames = bin_events(events, 1, (8, 8))
    assert frames[0, ON, 3, 1] == 1
    assert frames[0, OFF, 4, 2] == 1
    assert frames.sum() == 2


def test_by_count_frames_are_equally_full_and_by_time_equally_long() -> None:
    events = make_events(np.zeros(8), np.zeros(8), np.ones(8), [0, 1, 2, 3, 4, 5, 6, 79])
    assert bin_events(events, 4, (1, 1)).sum((1, 2, 3)).tolist() == [2, 2, 2, 2]
    assert bin_events(events, 4, (1, 1), by="time").sum((1, 2, 3)).tolist() == [7, 0, 0, 1]


def test_counts_saturate() -> None:
    many = np.zeros(1000)
    assert bin_events(make_events(many, many, many, np.arange(1000)), 1, (1, 1))[0, OFF, 0, 0] == 255


@pytest.mark.parametrize("by", ["count", "time"])
def test_no_events_give_empty_frames(by: Binning) -> None:
    frames = bin_events(make_events([], [], [], []), 3, (4, 5), by=by)
    assert frames.shape == (3, 2, 4, 5)
    assert not frames.any()


def test_events_outside_the_sensor_are_refused() -> None:
    with pytest.raises(SourceError, match="column 34"):
        bin_events(make_events([34], [0], [1], [0]), 1, (34, 34))


def test_rescaling_keeps_aspect_and_centres() -> None:
    corners = make_events([0, 7, 0, 7], [0, 0, 3, 3], [1, 1, 1, 1], [0, 1, 2, 3])
    frame = bin_events(corners, 1, (4, 8), size=4)[0, ON]
    # 8 x 4 shrinks to 4 x 2 and lies in the middle rows
    assert np.argwhere(frame).tolist() == [[1, 0], [1, 3], [2, 0], [2, 3]]


def test_enlarging_keeps_every_event() -> None:
    frame = bin_events(make_events([0, 1], [0, 1], [1, 1], [0, 1]), 1, (2, 2), size=8)[0, ON]
    assert np.argwhere(frame).tolist() == [[2, 2], [6, 6]]


@given(recordings(), st.integers(1, 7), st.sampled_from(["count", "time"]), st.sampled_from([None, 5, 34, 50]))
def test_binning_loses_no_event(events: Events, timesteps: int, by: Binning, size: int | None) -> None:
    frames = bin_events(events, timesteps, (34, 34), size=size, by=by)
    side = size or 34
    assert frames.shape == (timesteps, 2, side, side)
    assert frames.sum() == len(events)
    assert frames[:, ON].sum() == events["polarity"].sum()


@given(recordings())
def test_extent_holds_all_events(events: Events) -> None:
    height, width = extent(events)
    assert bin_events(events, 1, (height, width)).sum() == len(events)
