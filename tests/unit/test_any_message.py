"""Any bytes are a message or are refused, on both sides; a short form of `make fuzz`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.messages import SIDES, seeds, try_message

SEEDS = [(side, raw) for side, messages in seeds().items() for raw in messages]


@pytest.mark.parametrize("side", SIDES)
def test_the_seeds_are_messages(side: str) -> None:
    assert all(try_message(side, raw) for raw in seeds()[side])


@pytest.mark.parametrize("side", SIDES)
@settings(max_examples=100)
@given(st.binary(max_size=100))
@example(b"")
def test_any_bytes(side: str, raw: bytes) -> None:
    try_message(side, raw)


@settings(max_examples=500)
@given(st.sampled_from(SEEDS), st.integers(0, 1 << 16), st.binary(min_size=1, max_size=4), st.booleans())
def test_a_damaged_message(seed: tuple[str, bytes], place: int, value: bytes, cut: bool) -> None:
    side, raw = seed
    at = place % len(raw)
    try_message(side, raw[:at] if cut else raw[:at] + value + raw[at + len(value) :])
