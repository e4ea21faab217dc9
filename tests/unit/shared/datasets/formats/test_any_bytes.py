"""Any bytes are a recording or are refused; nothing else is raised, and little memory is taken."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.datasets.event_files import READERS, read_recording
from tests.fuzz.recordings import seeds, try_bytes

SEEDS = seeds()


@pytest.mark.parametrize("suffix", READERS)
@settings(max_examples=60)
@given(st.binary(max_size=400))
@example(b"")
def test_any_bytes(suffix: str, raw: bytes) -> None:
    try_bytes(suffix, raw)


@settings(max_examples=400)
@given(st.sampled_from(sorted(SEEDS)), st.integers(0, 1 << 16), st.integers(0, 255), st.booleans())
def test_a_damaged_file(name: str, place: int, value: int, cut: bool) -> None:
    raw = SEEDS[name]
    at = place % len(raw)
    try_bytes(Path(name).suffix, raw[:at] if cut else raw[:at] + bytes([value]) + raw[at + 1 :])


def test_the_seeds_are_recordings() -> None:
    for name, raw in SEEDS.items():
        with tempfile.NamedTemporaryFile(suffix=Path(name).suffix) as file:
            file.write(raw)
            file.flush()
            assert len(read_recording(Path(file.name)).events) == 60
