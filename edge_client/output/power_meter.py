"""Real meters of electrical energy behind one interface: those that the kernel shows, or a file that another program
writes.

A meter counts everything behind it since it was opened: a processor's package (RAPL) with whatever else runs on it, or
a whole board. Meters that show watts are integrated by a thread of their own, see `Sampled`.
"""

from __future__ import annotations

import contextlib
import csv
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from shared.energy import Meter
from shared.errors import ConfigError

RAPL = "sys/class/powercap"
I2C = "sys/bus/i2c/drivers"
WHOLE_BOARD = ("VDD_IN", "POM_5V_IN", "5V_IN")
"""Names of the rail that feeds a Jetson; without one the rails are added up."""

PERIOD_S = 0.1
"""Between two looks at a meter; RAPL's counters wrap after a quarter of an hour at the earliest."""

JOULES = {"energy_ws": 1.0, "energy_j": 1.0, "energy_wh": 3600.0}
WATTS = ("power_w", "power")
"""The columns of a file that can be read, in order of preference; the letters' case does not matter."""

log = logging.getLogger(__name__)


class PowerMeter(Protocol):
    """Counts joules."""

    @property
    def kind(self) -> Meter:
        """Which kind of meter it is."""

    def joules(self) -> float:
        """Joules since it was opened.

        Raises:
            OSError, ValueError: it is gone, or shows something else.
        """


class Rapl:
    """The packages of x86 processors, by the kernel's powercap interface."""

    kind: Meter = "rapl"

    def __init__(self, zones: Sequence[Path]) -> None:
        self._zones = [(zone / "energy_uj", _whole(zone / "max_energy_range_uj")) for zone in zones]
        self._last = [_whole(file) for file, _ in self._zones]
        self._total_uj = 0

    def joules(self) -> float:
        for index, (file, most) in enumerate(self._zones):
            now = _whole(file)
            spent = now - self._last[index]
            # The counter starts again from 0 after its range. Looked at every PERIOD_S it cannot do so twice.
            self._total_uj += spent if spent >= 0 else spent + most + 1
            self._last[index] = now
        return self._total_uj / 1e6


class Integrated:
    """Joules of something that shows watts: the area below them, straight from one look to the next."""

    def __init__(self, kind: Meter, watts: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self.kind = kind
        self._watts = watts
        self._clock = clock
        self._last = clock(), watts()
        self._total = 0.0

    def joules(self) -> float:
        now, watts = self._clock(), self._watts()
        since, before = self._last
        self._total += (now - since) * (watts + before) / 2
        self._last = now, watts
        return self._total


class Counted:
    """Joules of a meter that counts them itself. A smaller count than before means that it started again from 0."""

    def __init__(self, kind: Meter, count: Callable[[], float]) -> None:
        self.kind = kind
        self._count = count
        self._last = count()
        self._total = 0.0

    def joules(self) -> float:
        now = self._count()
        self._total += now - self._last if now >= self._last else now
        self._last = now
        return self._total


class Sampled:
    """A meter that a thread looks at every `period_s` seconds, so that watts are integrated and no wrap is missed.

    A meter that fails, or whose joules get fewer, is no longer read, with a warning. Close it.
    """

    def __init__(self, meter: PowerMeter, period_s: float = PERIOD_S) -> None:
        self.kind = meter.kind
        self._meter = meter
        self._period_s = period_s
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._joules: float | None = 0.0
        self._thread = threading.Thread(target=self._look, name="power meter", daemon=True)
        self._thread.start()

    def joules(self) -> float | None:
        """Joules up to now, or to when it was closed; None after it has failed."""
        with self._lock:
            if self._joules is not None and not self._ended.is_set():
                try:
                    self._joules = _further(self._joules, self._meter.joules())
                except (OSError, ValueError) as error:
                    log.warning("the power meter (%s) cannot be read any more: %s", self.kind, error)
                    self._joules = None
                    self._ended.set()
            return self._joules

    def close(self) -> None:
        """End the thread; the count stands."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(self._period_s):
            self.joules()


def _further(before: float, now: float) -> float:
    if now < before:
        raise ValueError(f"it went back, from {before:g} J to {now:g} J")
    return now


def discover(root: Path = Path("/")) -> PowerMeter | None:
    """The meter of the machine whose file system begins at `root`: the board's before the processor's; None if there is
    none that may be read.
    """
    for find in (_ina3221, _rapl):
        try:
            found = find(root)
        except (OSError, ValueError) as error:
            log.info("a power meter is there and cannot be read: %s", error)
            continue
        if found is not None:
            return found
    return None


def of_file(path: Path, clock: Callable[[], float] = time.monotonic) -> PowerMeter:
    """A meter on a cable whose program appends to a table: a line of names, then values, separated by commas,
    semicolons, tabs or spaces. A column of JOULES counts by its differences; without one, one of WATTS is integrated
    over `clock`.

    Raises:
        ConfigError: there is no such file, or no such column, or nothing in it yet.
    """
    try:
        names, _ = _table(path)
        known = {name.lower(): at for at, name in enumerate(names)}
        for name, factor in JOULES.items():
            if name in known:
                return Counted("file", lambda at=known[name], by=factor: by * _value(path, at))  # type: ignore[misc]
        for name in WATTS:
            if name in known:
                return Integrated("file", lambda at=known[name]: _value(path, at), clock)  # type: ignore[misc]
    except (OSError, ValueError) as error:
        raise ConfigError(f"--power-meter is {path}: it cannot be read ({error})") from None
    raise ConfigError(
        f"--power-meter is {path}: it has no column named {', '.join([*JOULES, *WATTS])}; its first line must name them"
    )


def _rapl(root: Path) -> PowerMeter | None:
    zones = [
        zone
        for zone in sorted((root / RAPL).glob("intel-rapl:*"))
        if zone.name.count(":") == 1 and _text(zone / "name").startswith("package")
    ]
    return Rapl(zones) if zones else None


def _ina3221(root: Path) -> PowerMeter | None:
    rails: dict[str, Callable[[], float]] = {}
    for label in sorted((root / I2C).glob("ina3221/*/hwmon/hwmon*/in?_label")):  # JetPack 5 and later
        number = label.name[2]
        volts, amperes = label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input")
        if volts.exists() and amperes.exists():  # millivolts, milliamperes
            rails[_text(label)] = lambda v=volts, a=amperes: _whole(v) * _whole(a) / 1e6  # type: ignore[misc]
    for label in sorted((root / I2C).glob("ina3221x/*/iio:device*/rail_name_?")):  # JetPack 4
        power = label.with_name(f"in_power{label.name[-1]}_input")
        if power.exists():
            rails[_text(label)] = lambda p=power: _whole(p) / 1e3  # type: ignore[misc]
    if not rails:
        return None
    whole = [rails[name] for name in WHOLE_BOARD if name in rails][:1] or list(rails.values())
    return Integrated("ina3221", lambda: sum(watts() for watts in whole))


def _text(file: Path) -> str:
    return file.read_text().strip()


def _whole(file: Path) -> int:
    return int(_text(file))


def _value(path: Path, column: int) -> float:
    """The last whole line's value in a column.

    Raises:
        OSError, ValueError: there is none.
    """
    _, values = _table(path)
    if column >= len(values):
        raise ValueError(f"its last line has {len(values)} of at least {column + 1} columns")
    value = float(values[column])
    if not math.isfinite(value):
        raise ValueError(f"its last line says {value}")
    return value


def _table(path: Path) -> tuple[list[str], list[str]]:
    """The names of the columns, and the last whole line's values; the end alone of a long file is read.

    Raises:
        OSError, ValueError: it cannot be read, or is no table.
    """
    with path.open("rb") as file:
        first = file.readline().decode()
        with contextlib.suppress(OSError):
            file.seek(max(file.tell(), path.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").split("\n")[:-1]
    if not lines:
        raise ValueError("it holds no values yet")
    dialect = next((mark for mark in ",;\t" if mark in first), None)
    split = (lambda line: next(csv.reader([line], delimiter=dialect))) if dialect else str.split
    try:
        return [name.strip() for name in split(first.strip())], split(lines[-1].strip())
    except csv.Error as error:
        raise ValueError(f"it is no table: {error}") from None
