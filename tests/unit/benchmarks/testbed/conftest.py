from __future__ import annotations

import pytest

from tests.unit.benchmarks.testbed.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)
