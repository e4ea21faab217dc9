"""What fuzzing feeds to the readers of event recordings: tests/unit a little of it, `make fuzz` for minutes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from shared.datasets.event_files import read_recording
from shared.datasets.events import bin_events, extent
from shared.errors import SourceError
from tests.support.recordings import write_aedat, write_bin, write_dat, write_raw
from tests.unit.shared.datasets.made import made

MOST_BYTES = 1_000_000
"""That the events may take."""


def seeds() -> dict[str, bytes]:
    """Sound recordings of each format that can be written here, by a name with its suffix."""
    events = made(60)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_bin(root / "a.bin", events)
        write_dat(root / "a.dat", events, header="% Width 34\n% Height 34\n")
        write_dat(root / "b.dat", events, version=1)
        write_aedat(root / "a.aedat", events)
        write_aedat(root / "b.aedat", events, header="# old\n", version=1)
        write_raw(root / "a.raw", events, "2.0")
        write_raw(root / "b.raw", events, "2.1-legacy")
        write_raw(root / "c.raw", events, "3.0", "% format EVT3;height=34;width=34\n% end\n")
        np.savez(root / "a.npz", **{name: events[name] for name in ("x", "y", "polarity", "t")})
        return {path.name: path.read_bytes() for path in sorted(root.iterdir())}


def try_bytes(suffix: str, raw: bytes) -> bool:
    """Read a file of these bytes, and bin it: whether it is a recording. Anything but a refusal is a finding."""
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(raw)
        file.flush()
        try:
            events = read_recording(Path(file.name), MOST_BYTES).events
        except SourceError as error:
            if not str(error).startswith(file.name):
                raise AssertionError("the file is not named") from error
            return False
    assert (np.diff(events["t"]) >= 0).all()
    if len(events):
        assert bin_events(events[:1], 2, extent(events), size=8, by="time").sum() == 1
        assert bin_events(events, 2, extent(events), size=8).any()
    return True
