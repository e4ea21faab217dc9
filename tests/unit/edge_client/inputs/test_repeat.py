"""The same input again and again, and in time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs.base import Item, Source
from edge_client.inputs.factory import open_source
from edge_client.inputs.repeat import Paced, Repeated
from shared.errors import ConfigError
from tests.support.processes import DEADLINE
from tests.unit.edge_client.inputs.test_factory import RGB, save


@pytest.fixture
def three(tmp_path: Path) -> str:
    for name in ("1", "2", "3"):
        save(tmp_path / f"{name}.png")
    (tmp_path / "2.png").write_bytes(b"torn")
    return str(tmp_path)


def test_all_of_it_again_with_new_numbers(three: str) -> None:
    source = open_source(InputConfig((three,), repeat=2), RGB)
    assert source.count == 6
    found = list(source)
    assert [Path(item.name).name for item in found] == ["1.png", "2.png", "3.png"] * 2
    assert [item.id for item in found if isinstance(item, Sample)] == [0, 2, 3, 5]


def test_for_ever_until_closed(three: str) -> None:
    source = open_source(InputConfig((three,), limit=2, repeat=0), RGB)
    assert source.count is None
    items = iter(source)
    assert [Path(item.name).name for item in itertools.islice(items, 7)] == ["1.png", "2.png"] * 3 + ["1.png"]
    source.close()
    assert len(list(items)) <= 1


def test_a_source_that_has_nothing_is_not_asked_for_ever() -> None:
    class Nothing(Source):
        count = 0

        def __iter__(self) -> Iterator[Item]:
            yield from ()

    assert list(Repeated(Nothing, 0)) == []


class Clock:
    """Stands still unless told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_not_faster_than_the_rate_and_no_hurry_after_a_delay(three: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    clock = Clock()

    def wait(_: threading.Event, seconds: float) -> bool:
        waits.append(seconds)
        clock.now += seconds
        return False

    monkeypatch.setattr(threading.Event, "wait", wait)
    pictures = InputConfig((three,), repeat=3)
    items = iter(Paced(open_source(pictures, RGB), 4.0, clock))
    for _ in range(3):
        next(items)
    clock.now += 10.0  # whoever takes them was busy
    for _ in range(3):
        next(items)
    assert waits == [0.0, 0.25, 0.25, 0.0, 0.25, 0.25]


def test_who_closes_it_does_not_wait_for_the_next_one(three: str) -> None:
    source = open_source(InputConfig((three,), rate=0.001), RGB)
    assert source.count == 3
    items = iter(source)
    next(items)
    rest: list[object] = []
    waiting = threading.Thread(target=lambda: rest.extend(items))
    waiting.start()
    source.close()
    waiting.join(DEADLINE)
    assert not waiting.is_alive()
    assert rest == []


def test_the_pass_that_runs_is_closed(three: str) -> None:
    opened = []

    def open_one() -> Paced:
        opened.append(Paced(open_source(InputConfig((three,)), RGB), 1000.0))
        return opened[-1]

    source = Repeated(open_one, 0)
    items = iter(source)
    list(itertools.islice(items, 4))
    source.close()
    assert len(opened) == 2
    assert list(items) == []


@pytest.mark.parametrize(
    ("settings", "flag"), [({"repeat": -1}, "--repeat"), ({"rate": 0.0}, "--rate"), ({"rate": float("inf")}, "--rate")]
)
def test_what_makes_no_sense_is_said(settings: dict[str, float], flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        InputConfig(("x.png",), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("passes", [0, 3])
def test_a_resumed_run_goes_on_in_the_pass_where_it_stopped(three: str, passes: int) -> None:
    # One whole pass is done, and one sample of the second.
    done = ["1.png", "2.png", "3.png", "1.png"]

    def skip(name: str) -> bool:
        if Path(name).name not in done:
            return False
        done.remove(Path(name).name)
        return True

    source = open_source(InputConfig((three,), repeat=passes), RGB, skip)
    assert [Path(item.name).name for item in itertools.islice(source, 5)] == [
        "2.png",
        "3.png",
        "1.png",
        "2.png",
        "3.png",
    ]
    source.close()
