import json
from pathlib import Path
from typing import Any

import pytest

from shared.boards import FILE, SILENT, Stated, Time, Traffic, boards, read_boards
from shared.errors import ConfigError


def test_a_board_spends_for_busy_cores_for_bytes_and_for_packets_above_its_idle_watts() -> None:
    board = boards()["pi-4b"]
    spent = board.spend(Time(seconds=2.0, busy_core_s=0.5), Traffic(1000, 2, 100, 1))
    assert spent.compute_j == pytest.approx(0.5 * (6.4 - 2.7) / 4)
    assert spent.radio_j == pytest.approx(1000 * 1.9e-6 + 2 * 420e-6 + 100 * 0.42e-6 + 330e-6)
    assert spent.idle_j == pytest.approx(2 * 2.7)
    assert spent.dynamic_j == spent.compute_j + spent.radio_j
    assert spent.total_j == spent.dynamic_j + spent.idle_j


def test_the_recomputed_figures_of_the_first_record() -> None:
    """Edge only: 511 ms of one core of a Pi 4B (benchmarks/records/2026-11-26-testbed)."""
    assert boards()["pi-4b"].spend(Time(0.511, 0.511), SILENT).dynamic_j == pytest.approx(0.473, abs=0.001)


def test_every_figure_names_its_source_in_words_and_says_if_it_was_estimated() -> None:
    assert set(boards()) == {"pi-4b", "pi-5", "pi-zero-2w", "orin-nano"}
    for board in boards().values():
        stated = [value for value in vars(board).values() if isinstance(value, Stated)]
        assert len(stated) == 7
        assert all(len(each.source) > 20 for each in stated)
        assert all(board.send_j_per_packet.estimated for board in boards().values())


def changed(tmp_path: Path, change: Any) -> Path:
    table = json.loads(FILE.read_text())
    change(table["boards"]["pi-4b"])
    path = tmp_path / "boards.json"
    path.write_text(json.dumps(table))
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda board: board.pop("idle_w"), "idle_w"),
        (lambda board: board["idle_w"].update(value=-1), "pi-4b.idle_w is -1"),
        (lambda board: board["idle_w"].update(value="2"), "idle_w.value"),
        (lambda board: board["core_w"].update(source="hearsay"), "'hearsay'"),
        (lambda board: board.update(colour="green"), "colour"),
        (lambda board: board.update(cores=0), "pi-4b.cores is 0"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_the_figures_name(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_boards(changed(tmp_path, change))


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "boards.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_boards(path)
    path.write_text("[]")
    with pytest.raises(ConfigError, match="no table of boards"):
        read_boards(path)
