"""Where the real samples lie, for the tests that read them; those are skipped on a machine without them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("NEUCODEX_TEST_DATA", Path(__file__).resolve().parents[4].parent / "shared" / "data"))
SAMPLES = ROOT / "events" / "samples"

needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no recordings in {SAMPLES}: set NEUCODEX_TEST_DATA")
