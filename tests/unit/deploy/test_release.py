from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.release import MOST_ON_TOP, VERSIONS, disagreements, unready
from shared.version import VERSION
from tests.support.prometheus import ROOT


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in [*VERSIONS, "CHANGELOG.md"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_everything_says_one_version() -> None:
    assert list(disagreements()) == []


@pytest.mark.parametrize("name", VERSIONS)
def test_another_version_is_found(tree: Path, name: str) -> None:
    change(tree / name, VERSION, "9.9.9")
    assert list(disagreements(tree)) == [f"{name}: it says 9.9.9, CHANGELOG.md says {VERSION}"]


def test_another_date_is_found(tree: Path) -> None:
    change(tree / "CITATION.cff", "date-released: 2", "date-released: 1")
    assert [problem.partition(" must")[0] for problem in disagreements(tree)] == ["CITATION.cff: date-released"]


def test_a_release_needs_its_top_ten(tree: Path) -> None:
    change(tree / "CHANGELOG.md", "### Top ten\n", "### Top ten\n\n" + "1. Another.\n" * (MOST_ON_TOP + 1))
    (problem,) = disagreements(tree)
    assert problem.startswith(f"CHANGELOG.md: {VERSION} needs `### Top ten`")


def test_a_changelog_without_a_release_is_found(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- A change.\n")
    assert [problem.partition(":")[0] for problem in disagreements(tree)] == ["CHANGELOG.md"]


def test_what_is_unreleased_or_uncommitted_is_found(tree: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tree, check=True)
    change(tree / "CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n- A change.\n")
    assert [problem.split(":")[0] for problem in unready(tree)] == ["CHANGELOG.md", "the working tree has changes"]


def test_the_command_says_what_is_wrong() -> None:
    ended = subprocess.run([sys.executable, "deploy/release.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    said = [f"error: {problem}\n" for problem in unready()]
    assert (ended.returncode, ended.stderr) == (int(bool(said)), "".join(said))


def test_the_citation_names_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (paper,) = citation["references"]
    assert citation["version"] == VERSION
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2509.19156"}]
    assert "2509.19156" in (ROOT / "README.md").read_text()
