"""The house: files are small, a class's name has one meaning, and docs/architecture.md names files that are there."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PRODUCTION = ("neucodex", "shared", "edge_client", "cloud_server", "training")
SHIPPED = (*PRODUCTION, "benchmarks", "deploy")

PAGE = (ROOT / "docs" / "architecture.md").read_text()

MOST_LINES = 400
MOST_LINES_IN_PRODUCTION = 340


def sources(*folders: str) -> Iterator[Path]:
    """Python files of the repository, without generated code."""
    return (file for folder in folders for file in (ROOT / folder).rglob("*.py") if "_pb2" not in file.name)


def too_long(files: Iterable[Path], most: int) -> list[str]:
    lines = {file: len(file.read_text().splitlines()) for file in files}
    return [f"{file}: {count} lines" for file, count in lines.items() if count > most]


def defined_twice(files: Iterable[Path]) -> dict[str, list[str]]:
    """Public classes of one name in several files."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(f"{file}:{node.lineno}")
    return {name: places for name, places in found.items() if len(places) > 1}


def named_paths(page: str) -> set[str]:
    """Files and folders between backquotes, and in the boxes of the picture."""
    words = re.findall(r"`([\w./*-]+)`", page) + re.findall(r'[\["(]([\w./]+(?:\.py|/))(?=[<\]",])', page)
    return {word for word in words if re.search(r"/|\.(py|proto|md|toml)$", word)}


def is_there(path: str) -> bool:
    """A path from the repository's root, from one of its packages, or from the page."""
    return any((ROOT / folder / path).exists() for folder in ("", "docs", *PRODUCTION))


def test_no_file_is_long() -> None:
    assert not too_long(sources("tests", "examples", *SHIPPED), MOST_LINES)
    assert not too_long(sources(*PRODUCTION), MOST_LINES_IN_PRODUCTION)


def test_no_two_classes_have_one_name() -> None:
    assert not defined_twice(sources(*SHIPPED))


def test_all_files_of_the_architecture_are_there() -> None:
    named = named_paths(PAGE)
    assert len(named) > 40
    assert not sorted(path for path in named if not is_there(path))


@pytest.mark.parametrize(
    "question",
    [
        "is a frame encoded",
        "is it decided to stop",
        "does a rejected sample go",
        "is the code that runs on the GPU",
        "are quotas kept",
        "is an input read",
    ],
)
def test_the_architecture_says_where(question: str) -> None:
    rows = [row for row in PAGE.splitlines() if row.startswith(f"| {question}")]
    assert len(rows) == 1
    assert named_paths(rows[0])


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    for name, text in (("one.py", "class Same: ...\n" * 2), ("other.py", "class Other: ...\n" * 9)):
        (tmp_path / name).write_text(text)
    files = [*tmp_path.glob("*.py")]
    assert too_long(files, 8) == [f"{tmp_path / 'other.py'}: 9 lines"]
    assert set(defined_twice(files)) == {"Same", "Other"}
    assert named_paths('`engine/none.py` `step` a["inputs/"] b["link/x.py<br/>y"]') == {
        "engine/none.py",
        "inputs/",
        "link/x.py",
    }
    assert not is_there("engine/none.py")
