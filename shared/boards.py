"""Boards that an edge may be: watts when idle and for a busy core, joules for what their Wi-Fi sends and receives.

`boards.json` is the data, each figure with its source. A board's joules are time that was measured, times watts that
somebody stated: they are neither those of a meter (`Measured`) nor those of an ideal chip (`Modelled`), and are never
added to either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from shared.errors import ConfigError
from shared.plain_data import dataclass_from

FILE = Path(__file__).with_name("boards.json")

Number: TypeAlias = int | float


@dataclass(frozen=True)
class Stated:
    """A figure, where it is from, and whether it was estimated: not measured on this board."""

    value: Number
    source: str
    estimated: bool = False
    note: str = ""


@dataclass(frozen=True)
class Board:
    """A board. Watts: `idle_w` all the time, `core_w` more for each core that is busy. `peak_gmacs`: 1e9 float32
    multiply-accumulates a second of a core, at most. The others are those of its Wi-Fi, in joules above the idle board.
    """

    title: str
    cores: int
    idle_w: Stated
    core_w: Stated
    peak_gmacs: Stated
    send_j_per_byte: Stated
    send_j_per_packet: Stated
    receive_j_per_byte: Stated
    receive_j_per_packet: Stated

    def spend(self, time: Time, traffic: Traffic) -> BoardJoules:
        """The energy of so much time and traffic."""
        sent = traffic.sent_bytes * self.send_j_per_byte.value + traffic.sent_packets * self.send_j_per_packet.value
        received = (
            traffic.received_bytes * self.receive_j_per_byte.value
            + traffic.received_packets * self.receive_j_per_packet.value
        )
        return BoardJoules(time.busy_core_s * self.core_w.value, sent + received, time.seconds * self.idle_w.value)


@dataclass(frozen=True)
class Time:
    """Seconds that passed, and seconds that cores were busy for this: of two busy cores twice as many."""

    seconds: float
    busy_core_s: float


@dataclass(frozen=True)
class Traffic:
    """What the radio carried, headers included."""

    sent_bytes: float = 0.0
    sent_packets: float = 0.0
    received_bytes: float = 0.0
    received_packets: float = 0.0


SILENT = Traffic()


@dataclass(frozen=True)
class BoardJoules:
    """A board's joules by part. `dynamic_j` is what the work adds to an idle board; `total_j` has the idle board in it,
    for as long as the work took.
    """

    compute_j: float
    radio_j: float
    idle_j: float

    @property
    def dynamic_j(self) -> float:
        return self.compute_j + self.radio_j

    @property
    def total_j(self) -> float:
        return self.dynamic_j + self.idle_j


def read_boards(path: Path) -> Mapping[str, Board]:
    """The boards of a file like `boards.json`, by name.

    Raises:
        ConfigError: it cannot be read, or a figure is missing, negative or without a source.
    """
    try:
        table: Mapping[str, Any] = json.loads(path.read_text())
        boards = {name: dataclass_from(Board, values) for name, values in table["boards"].items()}
        sources: Mapping[str, str] = table["sources"]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: no table of boards: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return {name: _sourced(path, name, board, sources) for name, board in boards.items()}


@cache
def boards() -> Mapping[str, Board]:
    """The boards that are known."""
    return read_boards(FILE)


def _sourced(path: Path, name: str, board: Board, sources: Mapping[str, str]) -> Board:
    """The board with sources in words instead of their names."""
    changed: dict[str, Stated] = {}
    for field in fields(Board):
        stated = getattr(board, field.name)
        if not isinstance(stated, Stated):
            continue
        if stated.value < 0:
            raise ConfigError(f"{path}: {name}.{field.name} is {stated.value:g}: it must not be negative")
        if stated.source not in sources:
            raise ConfigError(f"{path}: {name}.{field.name} names the source {stated.source!r}, which is not listed")
        changed[field.name] = replace(stated, source=sources[stated.source])
    if board.cores < 1:
        raise ConfigError(f"{path}: {name}.cores is {board.cores}: a board has one or more")
    return replace(board, **changed)  # type: ignore[arg-type]
