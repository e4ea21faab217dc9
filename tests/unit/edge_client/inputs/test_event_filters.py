from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest

from edge_client.event_options import EventOptions, Region
from edge_client.inference.sample import Sample
from edge_client.inputs.base import Item, Source, Still, Unreadable
from edge_client.inputs.event_filters import BackgroundActivityFilter, crop, filter_recording
from edge_client.inputs.still import StillGate, share_changed
from shared.datasets.event_collector import make_events
from shared.datasets.event_files import read_events
from shared.datasets.event_type import Events
from shared.errors import SourceError
from tests.support.real_data import ROOT, needs_data_sets
from tests.unit.shared.datasets.made import made

WITHIN = 5000


def one_by_one(events: Events, within_us: int) -> list[bool]:
    """The filter's rule as it reads."""
    last: dict[tuple[int, int], int] = {}
    kept = []
    for x, y, _, t in events.tolist():
        around = [last.get((x + c, y + r)) for c in (-1, 0, 1) for r in (-1, 0, 1) if r or c]
        kept.append(any(before is not None and t - before < within_us for before in around))
        last[x, y] = t
    return kept


@pytest.mark.parametrize("batch", [1, 64, 3000])
def test_an_event_needs_another_near_by_shortly_before(batch: int) -> None:
    events = made(3000)
    noise = BackgroundActivityFilter((34, 34), WITHIN)
    found = [kept for low in range(0, len(events), batch) for kept in noise.keep(events[low : low + batch])]
    assert found == one_by_one(events, WITHIN)
    assert 0.1 < np.mean(found) < 0.9


def test_a_region_and_noise_of_a_recording() -> None:
    events = made(3000)
    kept, sensor = filter_recording(events, (34, 34), EventOptions(region=Region(4, 8, 10, 12), denoise=5.0))
    inside = crop(events, Region(4, 8, 10, 12))
    assert sensor == (12, 10)
    np.testing.assert_array_equal(kept, inside[one_by_one(inside, WITHIN)])
    with pytest.raises(SourceError, match="reaches beyond the camera's 34 x 34 pixels"):
        filter_recording(events, (34, 34), EventOptions(region=Region(30, 0, 5, 5)))


def test_how_much_of_a_sample_changed() -> None:
    frames = np.zeros((5, 2, 4, 4), np.uint8)
    assert share_changed(frames, None) == 0.0
    frames[0, 0, 1, 1] = frames[3, 1, 1, 1] = frames[4, 1, 2, 2] = 7
    assert share_changed(frames, frames) == 2 / 16
    picture = np.full((3, 4, 4), 100, np.uint8)
    assert share_changed(picture, None) == 1.0
    moved = picture.copy()
    moved[1, 0, :2] += 21
    moved[0, 3] += 20
    assert share_changed(moved, picture) == share_changed(picture, moved) == 2 / 16


def test_events_of_the_same_time_count_for_each_other() -> None:
    events = make_events([3, 4], [3, 3], [1, 1], [7, 7])
    assert BackgroundActivityFilter((8, 8), 1).keep(events).tolist() == [False, True]


def by_dv_processing(events: Events, side: int) -> Events:
    dv = pytest.importorskip("dv_processing")
    noise = dv.noise.BackgroundActivityNoiseFilter(
        (side, side), backgroundActivityDuration=timedelta(microseconds=WITHIN)
    )
    store = dv.EventStore()
    for x, y, polarity, t in events.tolist():
        store.push_back(t + 10_000_000, x, y, polarity)
    noise.accept(store)
    kept = noise.generateEvents().numpy()
    return make_events(kept["x"], kept["y"], kept["polarity"], kept["timestamp"] - 10_000_000)


def test_it_keeps_what_dv_processing_keeps() -> None:
    events = made(3000)
    np.testing.assert_array_equal(
        events[BackgroundActivityFilter((34, 34), WITHIN).keep(events)], by_dv_processing(events, 34)
    )


@needs_data_sets
def test_it_keeps_what_dv_processing_keeps_of_a_real_clip() -> None:
    events = read_events(ROOT / "events/samples/dvs128gesture_class01.bin")
    np.testing.assert_array_equal(
        events[BackgroundActivityFilter((128, 128), WITHIN).keep(events)], by_dv_processing(events, 128)
    )


class Pictures(Source):
    """Grey pictures of one brightness each, and one that cannot be read."""

    def __init__(self, *levels: int | None) -> None:
        self._levels = levels

    def __iter__(self) -> Iterator[Item]:
        for number, level in enumerate(self._levels):
            if level is None:
                yield Unreadable(str(number), "torn")
            else:
                yield Sample(number, str(number), None, np.full((1, 4, 4), level, np.uint8))


def test_slow_changes_add_up_until_a_picture_is_not_still() -> None:
    found = list(StillGate(Pictures(100, 110, None, 120, 121, 130, 100), 0.5))
    kinds = [item.name if isinstance(item, Sample) else type(item).__name__ for item in found]
    assert kinds == ["0", "Still", "Unreadable", "Still", "4", "Still", "6"]
    assert [item.changed for item in found if isinstance(item, Still)] == [0.0, 0.0, 0.0]
