from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_client.event_options import EventOptions, Region
from edge_client.inputs.cuts import Cut, Cutter, cuts
from edge_client.inputs.live_events.clock import MOST_SETS, StreamClock
from edge_client.inputs.live_events.columns import EventColumns
from edge_client.inputs.live_events.counts import StreamCounts
from edge_client.inputs.live_events.windows import LiveWindows
from edge_client.windows import Window
from shared.datasets.event_collector import make_events
from shared.datasets.event_type import Events
from shared.errors import SourceError
from tests.unit.shared.datasets.made import made

SECOND = 1_000_000


def columns(events: Events) -> EventColumns:
    return EventColumns(events["x"], events["y"], events["polarity"], events["t"])


def live(window: str = "time:50", counts: StreamCounts | None = None, **how: object) -> LiveWindows:
    settings = {"sensor": (34, 34), "options": EventOptions(), "time_bits": 32, **how}
    return LiveWindows("x", Window.parse(window), counts=counts or StreamCounts(), **settings)  # type: ignore[arg-type]


def same(found: list[Cut], expected: list[Cut]) -> None:
    assert [(cut.start_us, len(cut.events)) for cut in found] == [(cut.start_us, len(cut.events)) for cut in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.events, other.events)


@pytest.mark.parametrize("window", ["count:100", "count:100/30", "count:30/100", "time:20", "time:20/7", "time:7/20"])
@pytest.mark.parametrize("batch", [1, 17, 5000])
def test_a_stream_is_cut_as_the_recording_is(window: str, batch: int) -> None:
    events, cutter = made(500), Cutter(Window.parse(window))
    found = [cut for low in range(0, len(events), batch) for cut in cutter.push(events[low : low + batch])]
    same([*found, *cutter.finish()], list(cuts(events, Window.parse(window))))


def test_overtaken_events_are_put_back_and_late_ones_left_out() -> None:
    events = made(600)
    counts = StreamCounts()
    windows = live("count:200", counts)
    order = [(0, 100), (150, 200), (100, 150), (200, 500), (50, 60), (500, 600)]
    found = [cut for low, high in order for cut in windows.take(columns(events[low:high]))]
    same(found, list(cuts(events, Window.parse("count:200"))))
    assert (counts.reordered, counts.late, counts.windows) == (50, 10, 3)


def test_windows_without_an_event_are_none_unless_they_are_asked_for() -> None:
    events = make_events([0, 0], [0, 0], [1, 1], [0, 300_000])
    assert [cut.start_us for cut in cuts(events, Window.parse("time:50"))] == [0]
    kept = list(cuts(events, Window.parse("time:50"), empty=True))
    assert [(cut.start_us, len(cut.events)) for cut in kept] == [(50_000 * n, int(n == 0)) for n in range(6)]


def test_a_window_ends_although_nothing_comes_any_more() -> None:
    now = [100.0]
    windows = live(clock=lambda: now[0])
    assert list(windows.idle()) == []
    assert list(windows.take(columns(make_events([1], [1], [1], [500])))) == []
    now[0] += 0.149
    assert list(windows.idle()) == []
    now[0] += 0.002
    (cut,) = windows.idle()
    assert (cut.start_us, len(cut.events), cut.span) == (0, 1, (500, 50_500))


def test_events_beyond_sensor_and_region_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    counts = StreamCounts()
    windows = live("count:2", counts, options=EventOptions(region=Region(10, 20, 5, 5)))
    assert windows.sensor == (5, 5)
    (cut,) = windows.take(columns(make_events([12, 40, 9, 14], [20, 3, 20, 24], [1, 0, 1, 0], [1, 2, 3, 4])))
    assert (cut.events["x"].tolist(), cut.events["y"].tolist()) == ([2, 4], [0, 4])
    assert (counts.outside, counts.cropped) == (1, 1)
    assert "x: events lie outside 34 x 34 pixels" in caplog.text


def test_a_region_beyond_the_sensor_is_refused() -> None:
    with pytest.raises(SourceError, match=r"--region 5x5\+30\+0 reaches beyond the camera's 34 x 34 pixels"):
        live(options=EventOptions(region=Region(30, 0, 5, 5)))


def test_events_without_a_time_are_as_old_as_their_arrival() -> None:
    now = [10.0]
    windows = live("time:50", clock=lambda: now[0])
    events = made(3)
    untimed = replace(columns(events), t=None)
    assert list(windows.take(untimed)) == []
    now[0] += 0.06
    (cut,) = windows.take(untimed)
    assert (cut.start_us, len(cut.events)) == (0, 3)


class TestClock:
    def test_a_counter_that_overflows_goes_on(self) -> None:
        clock = StreamClock(32)
        raw = (np.arange(10) * 1000 + (1 << 32) - 4500) % (1 << 32)
        assert np.diff(clock.line(raw)).tolist() == [1000] * 9
        assert np.diff(clock.line((raw + 10_000) % (1 << 32)))[0] == 1000
        assert clock.sets == 0

    def test_a_clock_that_is_set_is_not_followed(self) -> None:
        for bits in (32, 64):
            clock = StreamClock(bits)
            first = clock.line(np.array([100 * SECOND, 100 * SECOND + 10]))
            second = clock.line(np.array([100 * SECOND + 20, 5, 9, 500 * SECOND, 500 * SECOND + 3]))
            assert first is not None
            assert second is not None
            assert (second - first[0]).tolist() == [20, 20, 24, 24, 27]
            assert clock.sets == 2

    def test_times_that_mean_nothing(self) -> None:
        assert StreamClock(32).line(np.array([0, 100 * SECOND] * (MOST_SETS + 1))) is None
        assert StreamClock(64).line(np.array([1 << 63], np.uint64)) is None
