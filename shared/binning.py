"""How events are binned into frames. A separate module, because the command line needs it before numpy is loaded."""

from __future__ import annotations

from typing import Literal

Binning = Literal["count", "time"]
"""Frames of equal event count, or of equal time."""
