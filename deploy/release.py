"""`make release`: is the tree ready to be tagged? Versions agree, and the changelog says what a user notices."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

MOST_ON_TOP = 10
"""Entries of a release's `Top ten`: what a user notices first."""

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_RELEASE = re.compile(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)")

VERSIONS = {
    "shared/version.py": r'^VERSION = "(.+)"$',
    "deploy/edge.Dockerfile": r"^ARG VERSION=(.+)$",
    "deploy/cloud.Dockerfile": r"^ARG VERSION=(.+)$",
    "CITATION.cff": r"^version: (.+)$",
}
"""Where the version stands, besides CHANGELOG.md. Package, --version and metrics take it from shared/version.py."""


def disagreements(root: Path = ROOT) -> Iterator[str]:
    """A line for people for each place that does not say the changelog's newest version and date."""
    sections = _sections((root / "CHANGELOG.md").read_text())
    newest = next((_RELEASE.fullmatch(title) for title in sections if title != "Unreleased"), None)
    if newest is None:
        yield "CHANGELOG.md: the first section behind Unreleased must be `## VERSION - DATE`"
        return
    version, date = newest.groups()
    for name, pattern in VERSIONS.items():
        found = re.search(pattern, (root / name).read_text(), re.MULTILINE)
        if found is None or found[1] != version:
            yield f"{name}: it says {found[1] if found else 'no version'}, CHANGELOG.md says {version}"
    if f"date-released: {date}\n" not in (root / "CITATION.cff").read_text():
        yield f"CITATION.cff: date-released must be {date}, as in CHANGELOG.md"
    entries = len(re.findall(r"^\d+\. ", sections[newest[0]].partition("### Top ten")[2].partition("\n### ")[0], re.M))
    if not 1 <= entries <= MOST_ON_TOP:
        yield f"CHANGELOG.md: {version} needs `### Top ten` with 1 to {MOST_ON_TOP} numbered entries, it has {entries}"


def unready(root: Path = ROOT) -> Iterator[str]:
    """What else keeps this commit from being released: entries without a release, changes without a commit."""
    if _sections((root / "CHANGELOG.md").read_text()).get("Unreleased", "").strip():
        yield "CHANGELOG.md: move what is under Unreleased into a release"
    status = subprocess.run(
        ["git", "status", "--porcelain"],  # noqa: S607
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    if status.stdout:
        yield "the working tree has changes: commit them"


def _sections(changelog: str) -> dict[str, str]:
    parts = _SECTION.split(changelog)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def main() -> int:
    """Print what is wrong, or the tag to set; return the exit code."""
    problems = [*disagreements(), *unready()]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if not problems:
        newest = next(title for title in _sections((ROOT / "CHANGELOG.md").read_text()) if title != "Unreleased")
        print(f"ready: git tag -a v{newest.split()[0]}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
