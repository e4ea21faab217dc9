"""N-MNIST's test recordings in other forms: each gives the network the same frames, so it scores what it scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_client.inputs.recordings import RecordingReader
from shared.bundle import Bundle
from shared.datasets.event_files import read_events
from shared.datasets.event_type import Events
from shared.errors import SourceError
from tests.support.real_data import needs_data_sets, unpack
from tests.support.recordings import write_aedat, write_dat, write_raw

BUNDLE = Bundle.open(Path(__file__).parents[2] / "models/vgg16-nmnist").manifest
OVERFLOW = -150_000

pytestmark = needs_data_sets


def save(path: Path, events: Events, **changed: np.ndarray) -> None:
    np.savez(path, **{name: changed.get(name, events[name]) for name in ("x", "y", "polarity", "t")})


FORMS: dict[str, Callable[[Path, Events], None]] = {
    "a.dat": write_dat,
    "version 1.dat": lambda path, events: write_dat(path, events, version=1, kind=0),
    "overflow.dat": lambda path, events: write_dat(path, events, clock=OVERFLOW),
    "a.aedat": write_aedat,
    "overflow.aedat": lambda path, events: write_aedat(path, events, clock=OVERFLOW),
    "evt2.raw": lambda path, events: write_raw(path, events, "2.0"),
    "evt21.raw": lambda path, events: write_raw(path, events, "2.1"),
    "evt3.raw": lambda path, events: write_raw(path, events, "3.0", clock=OVERFLOW),
    "0 and 1.npz": save,
    "-1 and 1.npz": lambda path, events: save(path, events, polarity=np.where(events["polarity"], 1, -1)),
    "floats.npz": lambda path, events: save(path, events, t=events["t"].astype(float)),
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = unpack(tmp_path_factory.mktemp("data"), "nmnist") / "N-MNIST/Test"
    found = sorted(folder.glob("*/*.bin"))
    assert len(found) == 100
    return found


@pytest.mark.parametrize("form", FORMS)
def test_another_form_scores_the_same(recordings: list[Path], form: str, tmp_path: Path) -> None:
    control = RecordingReader(BUNDLE)
    # 34 x 34 pixels of a DVS128's: the flag says so.
    reader = RecordingReader(BUNDLE, sensor=(34, 34) if form.endswith("aedat") else None)
    for recording in recordings:
        FORMS[form](tmp_path / form, read_events(recording))
        np.testing.assert_array_equal(reader.read(tmp_path / form), control.read(recording), str(recording))


def test_seconds_are_refused(recordings: list[Path], tmp_path: Path) -> None:
    for recording in recordings:
        events = read_events(recording)
        save(tmp_path / "x.npz", events, t=events["t"] / 1e6)
        with pytest.raises(SourceError, match="times are whole microseconds"):
            RecordingReader(BUNDLE).read(tmp_path / "x.npz")
