from __future__ import annotations

import numpy as np
import pytest

from benchmarks.events.rivals import RIVALS, Shape
from tests.unit.shared.datasets.made import made

SHAPE = Shape(4, (34, 34))


@pytest.mark.parametrize("name", ["raw", "lossless", "counts"])
def test_the_cloud_gets_the_same_frames(name: str) -> None:
    events, rival = made(1000), RIVALS[name]
    np.testing.assert_array_equal(rival.decode(rival.encode(events, SHAPE), SHAPE), SHAPE.frames(events))


def test_binary_frames_keep_where_events_were_and_how_many_on_average() -> None:
    events, rival = made(20_000), RIVALS["binary"]
    found, counts = rival.decode(rival.encode(events, SHAPE), SHAPE), SHAPE.frames(events)
    np.testing.assert_array_equal(found > 0, counts > 0)
    assert set(np.unique(found).tolist()) <= {0, round(counts[counts > 0].mean())}


def test_each_form_is_smaller_than_the_one_before() -> None:
    sizes = [len(RIVALS[name].encode(made(4000), SHAPE)) for name in ("raw", "lossless", "counts", "binary")]
    assert sizes[0] == 5 * 4000
    assert sizes == sorted(sizes, reverse=True)
