"""Verdicts on disk: what a killed run leaves is gone on with, what belongs to another run is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.output.results_file import ResultsFile
from shared.errors import ConfigError
from tests.unit.edge_client.fakes import sample

RUN = {"bundle": "digits", "fingerprint": "ab", "images": ["a/", "b.png"], "dataset": None, "threshold": 0.9}
CLASSES = ("zero", "one")


def opened(path: Path, resume: bool = True, **changes: object) -> closing[ResultsFile]:
    return closing(ResultsFile(path, {**RUN, **changes}, CLASSES, resume=resume))


def verdict(of: Sample) -> Verdict:
    top_k = ((of.id % 2, 0.75),)
    return Verdict(of.id, of.id % 2, 0.75, 2, 64, 0.005, "cloud", (), top_k=top_k, answered_at=1_800_000_000.0)


def write(results: ResultsFile, *numbers: int) -> None:
    for number in numbers:
        results.write(sample(number), verdict(sample(number)))


def names(path: Path) -> list[str]:
    first, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert first == {"schema": 1, "run": {name: value for name, value in RUN.items() if value is not None}}
    return [line["sample"] for line in lines]


def test_each_verdict_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with opened(path, resume=False) as results:
        assert path.read_bytes() == b""
        for number in range(3):
            write(results, number)
            assert names(path) == [f"sample{n}" for n in range(number + 1)]
    assert json.loads(path.read_text().splitlines()[2]) == {
        "schema": 1, "sample": "sample1", "time": "2027-01-15T08:00:00.000Z", "input_time": None, "label": None,
        "prediction": "one", "confidence": 0.75, "top_k": [{"class": "one", "confidence": 0.75}], "timesteps": 2,
        "payload_bytes": 64, "latency_ms": 5.0, "answered_by": "cloud",
        "modelled_compute_j": None, "modelled_radio_j": None, "measured_j": None,
        "busy_core_s": None, "board_dynamic_j": None, "board_total_j": None,
    }  # fmt: skip


@given(kept=st.integers(min_value=0))
def test_a_file_that_ends_anywhere_is_gone_on_with(kept: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("torn") / "results.jsonl"
    with opened(path) as results:
        write(results, 0, 1, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[: kept % (len(whole) + 1)])
    with opened(path) as results:
        write(results, *(number for number in range(4) if not results.skip(f"sample{number}")))
    assert names(path) == ["sample0", "sample1", "sample2", "sample3"]


def test_a_name_that_comes_twice_is_done_as_often_as_it_was_answered(tmp_path: Path) -> None:
    with opened(tmp_path / "results.jsonl") as results:
        write(results, 5)
        assert not results.skip("sample5")
    with opened(tmp_path / "results.jsonl") as results:
        assert results.count == 1
        assert [results.skip("sample5") for _ in range(2)] == [True, False]
        assert not results.skip("sample6")


def test_another_runs_file_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with opened(path) as results:
        write(results, 0)
    before = path.read_bytes()
    for changes, said in (
        ({"fingerprint": "cd"}, r'another run: fingerprint is "ab" there and "cd" here\. Name'),
        ({"images": ["c/"], "threshold": 0.5}, r'images is \["a/", "b.png"\] there and .*; threshold is 0.9 there'),
        ({"images": None, "dataset": "digits"}, r'there and null here; dataset is null there and "digits" here'),
    ):
        with pytest.raises(ConfigError, match=said):
            opened(path, **changes)
    with pytest.raises(ConfigError, match=r"not empty: go on with it by --resume"):
        opened(path, resume=False)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text", ['{"sample": "x"}\n', "[1]\n[2]\n", '{"run": 1}\n', '{"run": {}}\nx\n{"sample": "x"}\n']
)
def test_what_is_no_results_file_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        opened(path)
    assert path.read_text() == text


def test_two_runs_do_not_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with opened(path), pytest.raises(ConfigError, match="another run is writing it"):
        opened(path)
    with opened(path) as results:
        write(results, 0)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "results.jsonl"):
        with pytest.raises(ConfigError, match="--out"):
            opened(path)


def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    # In a process of its own: a limit of a file's size stands in for a full disk.
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from shared.errors import OutputError\n"
        "from tests.unit.edge_client.output.test_results_file import opened, write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))\n"
        "with opened(Path(sys.argv[1])) as results:\n"
        "    try: write(results, *range(9))\n"
        "    except OutputError as error: print(error)\n"
        "    try: write(results, 8)\n"
        "    except OutputError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True).stdout
    assert said.count("make room and go on with --resume") == 2
    assert path.stat().st_size == 700
    with opened(path) as results:
        assert results.count > 0
        write(results, *(number for number in range(9) if not results.skip(f"sample{number}")))
    assert names(path) == [f"sample{number}" for number in range(9)]
