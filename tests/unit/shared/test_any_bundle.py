"""Any bytes are a bundle's file or are refused; a short form of `make fuzz`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.bundle import MANIFEST
from tests.fuzz.bundles import FILES, try_file, whole, with_value

VALUES = (b"1e999", b"-1", b"NaN", b'"\\ud800"', b"[[]]", b"{}", b"null", b"1" * 5000, b'"never"', b'"a","a":1', b"")


def test_the_bundle_is_one() -> None:
    assert set(FILES) < set(whole())
    for name in FILES:
        assert try_file(name, whole()[name])


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=25)
@given(st.binary(max_size=200))
@example(b"")
def test_any_bytes(name: str, raw: bytes) -> None:
    try_file(name, raw)


@settings(max_examples=150)
@given(st.sampled_from(FILES), st.integers(0, 1 << 16), st.binary(min_size=1, max_size=4), st.booleans())
def test_a_damaged_file(name: str, place: int, value: bytes, cut: bool) -> None:
    raw = whole()[name]
    at = place % len(raw)
    try_file(name, raw[:at] if cut else raw[:at] + value + raw[at + len(value) :])


@settings(max_examples=100)
@given(st.integers(0, 200), st.one_of(st.sampled_from(VALUES), st.binary(max_size=20)))
def test_another_value_in_the_manifest(place: int, value: bytes) -> None:
    try_file(MANIFEST, with_value(place, value))
