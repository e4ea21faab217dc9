"""What a run of the testbed has measured so far, so that one that was cut goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.json_file import write_json

FOLDER = "unfinished"


class Kept:
    """Values for JSON by name, in a folder beside the record that is made; it is taken away when that is written.

    Args:
        record: the record's folder.
        asked: what the run was asked for. What another run kept is thrown away.
    """

    def __init__(self, record: Path, asked: Any) -> None:
        self.folder = record / FOLDER
        text = json.dumps(asked, sort_keys=True, default=str)
        began = self.folder / "asked.json"
        if not began.exists() or began.read_text() != text:
            self.clear()
            self.folder.mkdir(parents=True)
            began.write_text(text)

    def value(self, name: str, make: Callable[[], Any]) -> Any:
        """The value of that name: as it was kept, or else made now and kept."""
        path = self.folder / f"{name}.json"
        if path.exists():
            return json.loads(path.read_text())
        made = make()
        write_json(path, made)
        return made

    def clear(self) -> None:
        """Throw all of it away."""
        shutil.rmtree(self.folder, ignore_errors=True)
