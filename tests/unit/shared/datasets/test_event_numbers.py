"""The gate for numbers: what no event can have is refused, with the field, the value and the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shared.datasets.event_collector import collect_arrays, make_events
from shared.datasets.event_type import BLOCK
from shared.errors import SourceError

GOOD: dict[str, Any] = {"x": [1, 2, 3], "y": [4, 5, 6], "polarity": [0, 1, 0], "t": [10, 20, 30]}


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float32, np.float64])
def test_whole_numbers_of_any_type_are_taken(kind: type[np.generic]) -> None:
    events = make_events(**{name: np.array(values, kind) for name, values in GOOD.items()})
    assert events.tolist() == [(1, 4, False, 10), (2, 5, True, 20), (3, 6, False, 30)]


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("x", [1, float("nan"), 3], r"x is nan in row 1: pixels"),
        ("x", [1, 2, float("inf")], r"x is inf in row 2"),
        ("x", [-1, 2, 3], r"x is -1 in row 0"),
        ("y", [1, 2, 1 << 40], r"y is 1099511627776 in row 2"),
        ("y", [1, 2.5, 3], r"y is 2.5 in row 1"),
        ("y", [1, 8192, 3], r"y is 8192 in row 1: pixels are whole numbers in 0..8191"),
        ("x", np.array([1, -1, 3]).astype(np.uint16), r"x is 65535 in row 1"),
        ("x", [True, False, True], r"x holds bool"),
        ("t", [True, False, True], r"t holds bool"),
        ("x", np.array([1, 4096, 3], np.float16), r"x is 4096.0 in row 1: .*float16 rounds those beyond 2,048"),
        ("t", np.array([1, 2, 1 << 25], np.float32), r"t is 33554432.0 in row 2: .*float32 rounds those beyond 16,777"),
        ("t", np.array([10, 60_000, 5], np.uint16), r"t is uint16 and goes back in row 2"),
        ("t", np.array([10, 20, 30], "M8[us]"), r"t holds datetime64\[us\], no numbers"),
        ("x", np.ma.masked_array([1, 2, 3], [False, True, False]), r"masked"),
        ("polarity", np.array([-1, 1, 1]).astype(np.uint8), r"polarity is 255 in row 0"),
        ("t", [0.1, 0.2, 0.3], r"t is 0.1 in row 0: times are whole microseconds"),
        ("t", [1, float("nan"), 3], r"t is nan in row 1"),
        ("t", np.array([1, 2, 1_764_547_200_000_000_000]), r"t is 1764547200000000000 in row 2"),
        ("t", np.array([1, 2, (1 << 64) - 1], np.uint64), r"t is 18446744073709551615 in row 2"),
        ("polarity", [1, 2, 1], r"polarity is 2 in row 1: polarity is 0/1 or -1/1"),
        ("polarity", [1, -2, 1], r"polarity is -2 in row 1"),
        ("polarity", [1, 0.5, 1], r"polarity is 0.5 in row 1"),
        ("polarity", [0, -1, 1], r"polarity is 0 in one row and -1 in row 1"),
        ("polarity", ["on", "off", "on"], r"polarity holds <U3, no numbers"),
        ("x", [1 + 1j, 2, 3], r"x holds complex128, no numbers"),
        ("t", [1, 2], r"equally long"),
        ("x", [[1, 2, 3]], r"equally long"),
    ],
)
def test_what_no_event_can_have_is_refused(field: str, values: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        make_events(**{**GOOD, field: values})


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.float64])
def test_polarity_is_0_and_1_or_minus_1_and_1(kind: type[np.generic]) -> None:
    for off in (0, -1):
        events = make_events(**{**GOOD, "polarity": np.array([off, 1, off], kind)})
        assert events["polarity"].tolist() == [False, True, False]
    assert make_events(**{**GOOD, "polarity": [True, False, True]})["polarity"].tolist() == [True, False, True]


def test_the_row_is_that_of_the_whole_array() -> None:
    x = np.zeros(BLOCK + 10, np.int64)
    x[BLOCK + 3] = -7
    with pytest.raises(SourceError, match=f"x is -7 in row {BLOCK + 3}"):
        make_events(x, np.zeros(len(x)), np.zeros(len(x)), np.arange(len(x)))


def test_both_forms_of_polarity_are_seen_across_blocks() -> None:
    polarity = np.ones(BLOCK + 10, np.int64)
    polarity[5], polarity[-1] = 0, -1
    with pytest.raises(SourceError, match=f"-1 in row {BLOCK + 9}"):
        make_events(np.zeros(len(polarity)), np.zeros(len(polarity)), polarity, np.arange(len(polarity)))


def test_more_than_the_memory_that_is_given_is_refused() -> None:
    assert len(collect_arrays(**GOOD, most_bytes=39).events) == 3
    with pytest.raises(SourceError, match="3 events or more, 1 MB in memory: more than --max-recording"):
        collect_arrays(**GOOD, most_bytes=38)
