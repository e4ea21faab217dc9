"""Real data sets, where a checkout has them beside it: `../shared/data`, or the folder NEUCODEX_TEST_DATA names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("NEUCODEX_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
UNPACK = ROOT.parent / "tools" / "unpack_data.py"

needs_data_sets = pytest.mark.skipif(not UNPACK.is_file(), reason=f"no {UNPACK}: set NEUCODEX_TEST_DATA")


def unpack(out: Path, name: str) -> Path:
    """Lay a data set out as its publisher does; returns `out`."""
    subprocess.run([sys.executable, str(UNPACK), str(out), name], check=True, capture_output=True, timeout=120)
    return out
