"""Both coders write the same bytes, and they are the shortest that there are."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.errors import CodecError
from shared.spike_codec.range_coder import WHOLE, FastCoder, PlainCoder, make_coder, shortest

CHANCES = np.array([2, 3, 22 << 8, 1 << 20, WHOLE // 2, WHOLE - (1 << 20), WHOLE - 3, WHOLE - 2], np.uint32)
symbols = st.lists(st.tuples(st.integers(-2, len(CHANCES) + 1), st.integers(0, 1)), min_size=1, max_size=400)


@pytest.fixture(scope="module")
def fast() -> FastCoder:
    pytest.importorskip("constriction")
    return FastCoder(CHANCES)


def arrays(pairs: list[tuple[int, int]]) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    levels, bits = zip(*pairs, strict=True)
    return np.array(levels, np.intp), np.array(bits, np.uint8)


@given(pairs=symbols)
def test_the_fast_coder_is_the_plain_one(fast: FastCoder, pairs: list[tuple[int, int]]) -> None:
    levels, bits = arrays(pairs)
    data = PlainCoder(CHANCES).encode(levels, bits)
    assert fast.encode(levels, bits) == data
    for each in (fast, PlainCoder(CHANCES)):
        reader = each.reader(data)
        half = len(levels) // 2
        assert np.array_equal(np.concatenate([reader.read(levels[:half]), reader.read(levels[half:])]), bits)
        assert reader.canonical_bytes() == data


@given(data=st.binary(max_size=40), seed=st.integers(0, 1000))
def test_both_read_any_bytes_alike(fast: FastCoder, data: bytes, seed: int) -> None:
    levels = np.random.default_rng(seed).integers(0, len(CHANCES), 100)
    found = []
    for each in (fast, PlainCoder(CHANCES)):
        reader = each.reader(data)
        try:
            bits = reader.read(levels).astype(np.uint8)
        except CodecError:
            found.append(None)
            continue
        spelling = reader.canonical_bytes()
        assert spelling == each.encode(levels, bits)
        found.append((bits.tolist(), spelling))
    assert found[0] == found[1]


@given(low=st.integers(0, 1 << 20), width=st.integers(1, 1 << 16))
def test_shortest_is_shortest(low: int, width: int) -> None:
    data = shortest(low, width, 24)
    assert low <= int.from_bytes(data.ljust(3, b"\0"), "big") < low + width
    for length in range(len(data)):
        unit = 1 << (24 - 8 * length)
        assert -(-low // unit) * unit >= low + width
    assert not data.endswith(b"\0")


def test_where_constriction_is_installed_it_is_used() -> None:
    pytest.importorskip("constriction")
    assert isinstance(make_coder(CHANCES), FastCoder)


def test_without_constriction_python_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    assert isinstance(make_coder(CHANCES), PlainCoder)


def test_a_constriction_that_codes_otherwise_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    constriction = pytest.importorskip("constriction")
    model = constriction.stream.model
    other = model.Categorical
    # What an older version did when it was not told otherwise.
    monkeypatch.setattr(model, "Categorical", lambda perfect: other(perfect=not perfect))
    assert isinstance(make_coder(CHANCES), PlainCoder)
    assert "constriction" in caplog.text
