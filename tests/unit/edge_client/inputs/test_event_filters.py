from __future__ import annotations

import numpy as np
import pytest

from edge_client.event_options import EventOptions, Region
from edge_client.inputs.event_filters import BackgroundActivityFilter, crop, filter_recording
from edge_client.inputs.still import share_changed
from shared.datasets.event_collector import make_events
from shared.datasets.event_type import Events
from shared.errors import SourceError
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
