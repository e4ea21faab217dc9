"""CPU time that passes when a test says so."""

from __future__ import annotations

import time

import pytest


class Clock:
    """In place of this process's: `cpu` seconds computed; `waited` seconds slept, one entry each time."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.cpu = 5.0
        self.waited: list[float] = []
        patch.setattr(time, "process_time", lambda: self.cpu)
        patch.setattr(time, "sleep", self.waited.append)
