from pathlib import Path

from benchmarks.testbed.kept import FOLDER, Kept


def test_a_run_that_was_cut_goes_on_where_it_stopped(tmp_path: Path) -> None:
    asked = {"n": 10, "bundle": Path("models/made")}
    assert Kept(tmp_path, asked).value("rows", lambda: [1, 2]) == [1, 2]
    again = Kept(tmp_path, asked)
    assert again.value("rows", lambda: [3]) == [1, 2]
    again.clear()
    assert not (tmp_path / FOLDER).exists()


def test_what_another_run_kept_is_not_taken(tmp_path: Path) -> None:
    Kept(tmp_path, {"n": 10}).value("rows", lambda: [1])
    assert Kept(tmp_path, {"n": 20}).value("rows", lambda: [2]) == [2]
