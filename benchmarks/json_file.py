"""JSON files that a reader finds whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write a value under a temporary name, and then rename the file."""
    part = path.with_suffix(".partial")
    part.write_text(json.dumps(value))
    part.replace(path)
